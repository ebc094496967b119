-- Releases the lease and begins the interval. If arXiv throttled the request, no process sends one
-- for `cooldown` seconds, doubled for each time in a row, up to `max_cooldown`; this holds even if
-- the lease has expired. Only a proper response resets that count. The time of background requests,
-- which are large, is not part of the average. Returns the rest of the cooldown.
update gate
set
    holder = case when holder = %(ticket)s then null else holder end,
    free_at = greatest(
        free_at, clock_timestamp() + make_interval(secs => %(interval)s::float8)
    ),
    request_time = case
        when holder = %(ticket)s and %(priority)s = 0 then 0.7 * request_time + 0.3 * %(request_time)s::float8
        else request_time
    end,
    refusals = case
        when %(cooldown)s::float8 > 0 and last_refused is distinct from %(ticket)s then refusals + 1
        when %(answered)s then 0
        else refusals
    end,
    last_refused = case when %(cooldown)s::float8 > 0 then %(ticket)s else last_refused end,
    closed_until = case
        when %(cooldown)s::float8 > 0 and last_refused is distinct from %(ticket)s then greatest(
            closed_until,
            clock_timestamp() + make_interval(
                secs => greatest(
                    %(cooldown)s::float8,
                    least(%(max_cooldown)s::float8, %(cooldown)s::float8 * 2 ^ least(refusals, 30))
                )
            )
        )
        else closed_until
    end
returning greatest(extract(epoch from closed_until - clock_timestamp()), 0)::float8 as cooldown
