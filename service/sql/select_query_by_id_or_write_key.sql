-- The searches with this query_id or write_key, and whether each was recorded by this write.
select query_id, coalesce(write_key = %(write_key)s::uuid, false) as is_ours
from queries
where query_id = %(query_id)s::bigint or write_key = %(write_key)s::uuid
