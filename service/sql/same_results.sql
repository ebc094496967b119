-- A row for each of these papers that is recorded in its place.
select
from results as kept
join rows from (
    json_to_recordset(%(results)s::json) as (author text, title text, journal text)
) with ordinality as sent on kept.result_number = sent.ordinality - 1
where kept.query_id = %(query_id)s
    and kept.timestamp = %(timestamp)s
    and (kept.author, kept.title) = (sent.author, sent.title)
    and kept.journal is not distinct from sent.journal
