-- The progress of a sync.
select
    set_spec, covered_from, covered_until, synced_at, run_from, run_until, run_next, window_until,
    token, metadata_prefix, run_started, run_records, run_invalid, skipped, error
from mirror_syncs
where set_spec = %(set_spec)s
