-- The searches under a number or of a write: whether it is another's number, or the write was made before.
select query_id, coalesce(write_key = %(write_key)s::uuid, false) as is_ours
from queries
where query_id = %(query_id)s::bigint or write_key = %(write_key)s::uuid
