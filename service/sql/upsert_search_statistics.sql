-- Adds the counts of one process. The order keeps processes from waiting for each other in a circle.
insert into search_statistics as stored
    (hour, outcome, answered_by, searches, waited, wait_seconds, longest_wait)
select hour, outcome, answered_by, searches, waited, wait_seconds, longest_wait
from jsonb_to_recordset(%(counts)s::jsonb) as new (
    hour bigint, outcome text, answered_by text, searches bigint, waited bigint, wait_seconds float8,
    longest_wait float8
)
order by hour, outcome, answered_by
on conflict (hour, outcome, answered_by) do update set
    searches = stored.searches + excluded.searches,
    waited = stored.waited + excluded.waited,
    wait_seconds = stored.wait_seconds + excluded.wait_seconds,
    longest_wait = greatest(stored.longest_wait, excluded.longest_wait)
