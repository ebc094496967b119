-- Records the papers of a search under a number taken before. The same again changes nothing; others
-- under the same number return fewer rows than were sent.
insert into results as kept (query_id, timestamp, result_number, author, title, journal)
select %(query_id)s, %(timestamp)s, ordinality - 1, author, title, journal
from rows from (
    json_to_recordset(%(results)s::json) as (author text, title text, journal text)
) with ordinality
order by ordinality
on conflict (query_id, result_number) do update set query_id = excluded.query_id
where (kept.timestamp, kept.author, kept.title, kept.journal)
    is not distinct from (excluded.timestamp, excluded.author, excluded.title, excluded.journal)
returning result_number
