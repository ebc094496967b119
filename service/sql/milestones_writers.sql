-- Who may have taken an id in `results` and not ended yet: the lock is held from before the first
-- id is taken until what was written is seen. The position in the log is read after that.
select
    coalesce(array_agg(virtualtransaction), '{}') as writers,
    (pg_current_wal_insert_lsn() - '0/0')::bigint as position
from pg_locks
where relation = 'results'::regclass
    and database = (select oid from pg_database where datname = current_database())
    and mode = 'RowExclusiveLock'
    and granted
