-- How current the mirror of all papers is, and whether any sync is running; no row if there is none.
select
    synced_at, covered_from, covered_until, held_until > clock_timestamp() as running, error,
    run_invalid as invalid
from mirror_syncs
where set_spec = '' and (covered_until is not null or run_from is not null or error is not null)
