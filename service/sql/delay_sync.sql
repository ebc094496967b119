-- Lets no process repeat a sync that failed before some seconds have passed.
insert into mirror_syncs (set_spec, retry_at)
values ('', clock_timestamp() + make_interval(secs => %(seconds)s::float8))
on conflict (set_spec) do update set retry_at = excluded.retry_at
