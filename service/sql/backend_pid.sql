-- The server process that answers; a pooler in between named another when the connection began.
select pg_backend_pid()
