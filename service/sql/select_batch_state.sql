-- Whether each of these searches is recorded, under any query_id, and whether its query_id is in use.
select
    sent.write_key,
    exists (select from queries where queries.write_key = sent.write_key) as is_recorded,
    exists (select from queries where queries.query_id = sent.query_id) as is_taken
from json_to_recordset(%(searches)s::json) as sent (query_id bigint, write_key uuid)
