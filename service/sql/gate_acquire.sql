-- Grants the lease to a ticket if it is the first in the queue, no lease is held, and the interval
-- and any cooldown are over. A lease that was not released expires; then the interval begins. A
-- ticket that already has the lease, but did not receive the confirmation, is granted it again.
with lease as (
    update gate
    set holder = %(ticket)s,
        held_until = clock_timestamp() + make_interval(secs => %(lease)s::float8)
    where holder = %(ticket)s
        or (
            holder is null
            or held_until + make_interval(secs => %(interval)s::float8) <= clock_timestamp()
        )
        and free_at <= clock_timestamp()
        and closed_until <= clock_timestamp()
        and (select ticket from gate_queue order by place limit 1) = %(ticket)s
    returning holder
),
dequeued as (
    delete from gate_queue where ticket in (select holder from lease)
)
select from lease
