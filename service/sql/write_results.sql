-- Records results under a query_id taken before, except where a result has the same number.
insert into results
    (query_id, timestamp, result_number, author, title, journal, arxiv_id, version)
select
    %(query_id)s, %(timestamp)s, ordinality - 1, author, title, journal, arxiv_id, version
from rows from (
    json_to_recordset(%(results)s::json)
        as (author text, title text, journal text, arxiv_id text, version smallint)
) with ordinality
order by ordinality
on conflict (query_id, result_number) do nothing
