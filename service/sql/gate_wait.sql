-- Takes a place in the queue, unless the wait would be longer than `patience`, or renews it. Tells how many are ahead, when the gate opens, and how long the wait will be, in seconds.
with mine as (
    select place from gate_queue where ticket = %(ticket)s
),
outlook as (
    select
        ahead,
        closed,
        opens,
        greatest(opens, closed) + ahead * (%(interval)s::float8 + request_time) as wait
    from (
        select
            request_time,
            greatest(extract(epoch from closed_until - clock_timestamp()), 0)::float8 as closed,
            greatest(extract(epoch from free_at - clock_timestamp()), 0)::float8 as opens,
            (
                select count(*)
                from gate_queue
                where place < coalesce((select place from mine), 9223372036854775807)
            ) + (holder is not null and held_until > clock_timestamp())::int as ahead
        from gate
    ) as now
),
renewed as (
    insert into gate_queue (ticket, expires)
    select %(ticket)s, clock_timestamp() + make_interval(secs => %(lifetime)s::float8)
    from outlook
    where wait <= %(patience)s::float8 or exists (select from mine)
    on conflict (ticket) do update set expires = excluded.expires
    returning place
)
select (select place from renewed) as place, ahead, opens, closed, wait
from outlook
