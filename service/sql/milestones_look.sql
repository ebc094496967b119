-- What may have come between the milestones since rows up to `seen` were counted (0: none were): the
-- least key of what is newer. And what tells whether the rows before are still the same, and on a
-- standby how far it has come.
select
    fresh.timestamp, fresh.query_id, fresh.result_number,
    coalesce((select max(id) from results), 0) as last_id,
    coalesce((select min(id) from results), 0) as first_id,
    pg_stat_get_tuples_deleted('results'::regclass)
        + pg_stat_get_tuples_updated('results'::regclass) as changed,
    pg_relation_filenode('results'::regclass)::bigint as file,
    extract(epoch from pg_postmaster_start_time())::float8 as server,
    case
        when pg_is_in_recovery() then coalesce(pg_last_wal_replay_lsn() - '0/0', 0)::bigint
        else 9223372036854775807
    end as position
from (select) as one
left join lateral (
    select timestamp, query_id, result_number
    from (
        -- by the primary key: the order below must not tempt the planner into reading everything
        select timestamp, query_id, result_number
        from results
        where %(seen)s::bigint > 0 and id > %(seen)s::bigint
        offset 0
    ) as newer
    order by timestamp, query_id, result_number
    limit 1
) as fresh on true
