-- Stores the progress of a sync.
insert into mirror_syncs (
    set_spec, covered_from, covered_until, synced_at, run_from, run_until, run_next, window_until,
    token, metadata_prefix, run_started, run_records, run_invalid, skipped, error
)
values (
    %(set_spec)s, %(covered_from)s, %(covered_until)s, %(synced_at)s, %(run_from)s, %(run_until)s,
    %(run_next)s, %(window_until)s, %(token)s, %(metadata_prefix)s, %(run_started)s,
    %(run_records)s, %(run_invalid)s, %(skipped)s, %(error)s
)
on conflict (set_spec) do update set
    covered_from = excluded.covered_from,
    covered_until = excluded.covered_until,
    synced_at = excluded.synced_at,
    run_from = excluded.run_from,
    run_until = excluded.run_until,
    run_next = excluded.run_next,
    window_until = excluded.window_until,
    token = excluded.token,
    metadata_prefix = excluded.metadata_prefix,
    run_started = excluded.run_started,
    run_records = excluded.run_records,
    run_invalid = excluded.run_invalid,
    skipped = excluded.skipped,
    error = excluded.error
