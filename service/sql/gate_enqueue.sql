-- Adds a ticket to the queue unless it would wait longer than `max_wait`, or renews it. Returns its
-- place (null if it was not added), the number of requests ahead of it including `ahead` that have no
-- ticket yet, and in seconds: the rest of the interval and of the cooldown, and the estimated wait.
-- Places of background tickets begin at 2^62, which is after all searches. The place alone decides,
-- since processes of the previous release do not know the priority.
with mine as (
    select place from gate_queue where ticket = %(ticket)s
),
status as (
    select
        ahead,
        interval_left,
        cooldown,
        greatest(interval_left, cooldown) + ahead * (%(interval)s::float8 + request_time) as wait
    from (
        select
            request_time,
            greatest(extract(epoch from free_at - clock_timestamp()), 0)::float8 as interval_left,
            greatest(extract(epoch from closed_until - clock_timestamp()), 0)::float8 as cooldown,
            (
                select count(*)
                from gate_queue
                where place < coalesce((select place from mine), 9223372036854775807)
                    and priority <= %(priority)s::smallint
            )
            + (holder is not null and held_until > clock_timestamp())::int
            + %(ahead)s::int as ahead
        from gate
    ) as now
),
ticket as (
    insert into gate_queue (place, ticket, priority, expires) overriding system value
    select
        nextval('gate_queue_place_seq') + %(priority)s * (2::bigint << 61),
        %(ticket)s,
        %(priority)s,
        clock_timestamp() + make_interval(secs => %(ticket_lifetime)s::float8)
    from status
    where wait <= %(max_wait)s::float8 or exists (select from mine)
    on conflict (ticket) do update set expires = excluded.expires
    returning place
)
select (select place from ticket) as place, ahead, interval_left, cooldown, wait
from status
