-- Records searches under the numbers taken for them before. One that is recorded already, or whose
-- number another one has, is left out.
insert into queries (
    query_id, timestamp, status, num_results, num_entries, query, outcome, write_key, search_key,
    remarks, acknowledged
)
select
    query_id, timestamp, status, num_results, num_entries, query, outcome, write_key, search_key,
    remarks, acknowledged
from json_to_recordset(%(searches)s::json) as (
    query_id bigint, timestamp bigint, status smallint, num_results integer, num_entries smallint,
    query text, outcome text, write_key uuid, search_key uuid, remarks json, acknowledged bigint
)
order by query_id
on conflict do nothing
