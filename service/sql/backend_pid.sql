-- Whether the server process that answers is the one which was named when the connection began: a pooler
-- in between names another. If it is, what is prepared will be planned as `plans` says, and a text comes
-- along: libpq keeps the memory that it takes for one, and so can read that much at once from then on.
select set_config('plan_cache_mode', %(plans)s::text, false), repeat(' ', %(room)s::int)
where pg_backend_pid() = %(backend_pid)s::int
