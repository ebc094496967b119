-- Takes or renews the lease of the sync. There is one for all sets, processes and machines; it expires
-- unless it is renewed. Returns a row if the holder has it now.
insert into mirror_syncs (set_spec, holder, held_until)
values ('', %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s::float8))
on conflict (set_spec) do update set holder = excluded.holder, held_until = excluded.held_until
where mirror_syncs.holder = excluded.holder or mirror_syncs.held_until < clock_timestamp()
returning 1
