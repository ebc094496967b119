-- The progress of all syncs.
select
    set_spec, covered_from, covered_until, synced_at, run_from, run_until, run_next, window_until,
    token, metadata_prefix, run_started, run_records, run_invalid, skipped, error
from mirror_syncs
order by set_spec
