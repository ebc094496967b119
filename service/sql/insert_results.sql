-- Records the results of the search with this query_id, or of the one this transaction has inserted.
insert into results
    (query_id, timestamp, result_number, author, title, journal, arxiv_id, version)
select
    coalesce(%(query_id)s::bigint, currval('arxiv_sequence')), %(timestamp)s, ordinality - 1,
    author, title, journal, arxiv_id, version
from rows from (
    json_to_recordset(%(results)s::json)
        as (author text, title text, journal text, arxiv_id text, version smallint)
) with ordinality
order by ordinality
