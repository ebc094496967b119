-- Records searches under the query_ids taken for them. A search that is recorded already, or whose
-- query_id belongs to another record, is left out.
insert into queries (
    query_id, timestamp, status, num_results, num_entries, query, outcome, write_key, search_key,
    remarks, feed_link, acknowledged
)
select
    query_id, timestamp, status, num_results, num_entries, query, outcome, write_key, search_key,
    remarks, feed_link, acknowledged
from json_to_recordset(%(searches)s::json) as (
    query_id bigint, timestamp bigint, status smallint, num_results integer, num_entries smallint,
    query text, outcome text, write_key uuid, search_key uuid, remarks json, feed_link text,
    acknowledged bigint
)
order by query_id
on conflict do nothing
