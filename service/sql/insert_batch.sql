-- Records searches and their results under the query_ids taken for them. A search that is recorded
-- already, or whose query_id belongs to another record, is left out.
with new as (
    insert into queries (
        query_id, timestamp, status, num_results, num_entries, query, outcome, write_key,
        search_key, remarks, feed_link, acknowledged
    )
    select
        query_id, timestamp, status, num_results, num_entries, query, outcome, write_key,
        search_key, remarks, feed_link, acknowledged
    from json_to_recordset(%(searches)s::json) as (
        query_id bigint, timestamp bigint, status smallint, num_results integer,
        num_entries smallint, query text, outcome text, write_key uuid, search_key uuid,
        remarks json, feed_link text, acknowledged bigint
    )
    order by query_id
    on conflict do nothing
    returning query_id, write_key
)
insert into results
    (query_id, timestamp, result_number, author, title, journal, arxiv_id, version)
select
    search.query_id, search.timestamp, ordinality - 1, author, title, journal, arxiv_id, version
from json_to_recordset(%(results)s::json)
    as search (query_id bigint, write_key uuid, timestamp bigint, results json),
    rows from (
        json_to_recordset(search.results)
            as (author text, title text, journal text, arxiv_id text, version smallint)
    ) with ordinality
-- if a query_id occurs twice, it has the results of one of the two
where (search.query_id, search.write_key) in (select query_id, write_key from new)
order by search.query_id, ordinality
