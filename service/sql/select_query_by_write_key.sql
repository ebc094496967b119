-- The search that an earlier attempt of this write recorded, if any.
select query_id from queries where write_key = %(write_key)s::uuid
