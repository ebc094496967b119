-- Takes a query_id from the sequence; 0 if an operator has already used it.
with next as materialized (select nextval('arxiv_sequence') as query_id)
select
    case
        when exists (select from queries where queries.query_id = next.query_id) then 0
        else next.query_id
    end
from next
