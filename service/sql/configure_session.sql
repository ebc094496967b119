-- Sets `plan_cache_mode` and returns one row, unless a pooler is in between: it reports another server
-- process than the one the connection began with. The row contains a text of `buffer_bytes`, since libpq
-- keeps the memory for it and can then read that much at once.
select set_config('plan_cache_mode', %(plan_cache_mode)s::text, false), repeat(' ', %(buffer_bytes)s::int)
where pg_backend_pid() = %(backend_pid)s::int
