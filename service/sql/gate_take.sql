-- Gives the gate to the first in the queue, if it is this ticket and arXiv has had its pause. A
-- holder that died is over when its request must have ended; then too the pause is kept. Who did not
-- hear that the gate was given to it is given it again.
with taken as (
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
gone as (
    delete from gate_queue where ticket in (select holder from taken)
)
select from taken
