-- Ends a turn. If arXiv was asked, the pause begins now; a refusal of arXiv's closes the gate for
-- `cooldown` seconds, doubled for each one before, up to `longest`.
update gate
set
    holder = null,
    free_at = case
        when %(asked)s then clock_timestamp() + make_interval(secs => %(interval)s::float8)
        else free_at
    end,
    request_time = case
        when %(asked)s then 0.7 * request_time + 0.3 * %(request_time)s::float8
        else request_time
    end,
    refusals = case
        when not %(asked)s then refusals
        when %(cooldown)s::float8 > 0 then refusals + 1
        else 0
    end,
    closed_until = case
        when %(cooldown)s::float8 > 0 then clock_timestamp() + make_interval(
            secs => greatest(
                %(cooldown)s::float8,
                least(%(longest)s::float8, %(cooldown)s::float8 * 2 ^ least(refusals, 30))
            )
        )
        else closed_until
    end
where holder = %(ticket)s
