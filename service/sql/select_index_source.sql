-- What the search index must know of the server that is read: which data it has, and up to which
-- transaction. Its snapshot may lack transactions from `oldest` on, and has none from `next` on. A standby
-- may report its new timeline late.
select
    concat_ws(
        '/', system_identifier, (select oid from pg_database where datname = current_database()),
        'papers'::regclass::oid
    ) as database,
    case
        when pg_is_in_recovery() then greatest(timeline_id, min_recovery_end_timeline)
        else ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int
    end as timeline,
    pg_is_in_recovery() as is_standby,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next,
    visible_until(%(read_delay)s::float8) as visible_until
from pg_control_system(), pg_control_checkpoint(), pg_control_recovery()
