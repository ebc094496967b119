-- Records the results of several searches under their query_ids.
insert into results
    (query_id, timestamp, result_number, author, title, journal, arxiv_id, version)
select
    search.query_id, search.timestamp, ordinality - 1, author, title, journal, arxiv_id, version
from json_to_recordset(%(results)s::json)
    as search (query_id bigint, timestamp bigint, results json),
    rows from (
        json_to_recordset(search.results)
            as (author text, title text, journal text, arxiv_id text, version smallint)
    ) with ordinality
order by search.query_id, ordinality
