-- One row if a search is recorded under this number.
select from queries where query_id = %(query_id)s::bigint
