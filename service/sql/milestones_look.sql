-- What may have come between the milestones since rows up to `seen` were counted (0: none were): the
-- least key of what is newer. And how far back what is there can no longer change: nothing up to `last_id` can
-- still come once every transaction before `next` has ended, which is when `oldest` has reached it.
select
    fresh.timestamp, fresh.query_id, fresh.result_number,
    coalesce((select max(id) from results), 0) as last_id,
    coalesce((select min(id) from results), 0) as first_id,
    pg_stat_get_tuples_deleted('results'::regclass)
        + pg_stat_get_tuples_updated('results'::regclass) as changed,
    pg_snapshot_xmin(pg_current_snapshot())::text::bigint as oldest,
    pg_snapshot_xmax(pg_current_snapshot())::text::bigint as next
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
