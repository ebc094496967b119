-- The search that the write of this key recorded, if it did.
select query_id from queries where write_key = %(write_key)s::uuid
