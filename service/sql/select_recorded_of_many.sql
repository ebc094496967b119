-- Which of these searches are recorded, under whatever number, and whose number is in use.
select
    told.write_key,
    exists (select from queries where queries.write_key = told.write_key) as is_recorded,
    exists (select from queries where queries.query_id = told.query_id) as is_taken
from json_to_recordset(%(searches)s::json) as told (query_id bigint, write_key uuid)
