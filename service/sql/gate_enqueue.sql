-- Adds a ticket to the queue unless it would wait longer than `max_wait`, or renews it. Returns its
-- place (null if it was not added), the number of requests ahead of it, those that have no ticket yet
-- included, and in seconds: the rest of the interval, the rest of the cooldown, and the estimated wait.
with mine as (
    select place from gate_queue where ticket = %(ticket)s
),
status as (
    select
        ahead,
        pause,
        cooldown,
        greatest(pause, cooldown) + ahead * (%(interval)s::float8 + request_time) as wait
    from (
        select
            request_time,
            greatest(extract(epoch from free_at - clock_timestamp()), 0)::float8 as pause,
            greatest(extract(epoch from closed_until - clock_timestamp()), 0)::float8 as cooldown,
            (
                select count(*)
                from gate_queue
                where place < coalesce((select place from mine), 9223372036854775807)
            )
            + (holder is not null and held_until > clock_timestamp())::int
            + %(ahead_in_process)s::int as ahead
        from gate
    ) as now
),
ticket as (
    insert into gate_queue (ticket, expires)
    select %(ticket)s, clock_timestamp() + make_interval(secs => %(ticket_lifetime)s::float8)
    from status
    where wait <= %(max_wait)s::float8 or exists (select from mine)
    on conflict (ticket) do update set expires = excluded.expires
    returning place
)
select (select place from ticket) as place, ahead, pause, cooldown, wait
from status
