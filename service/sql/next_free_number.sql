-- Takes one number, and looks whether an operator's own record has it.
with next as materialized (select nextval('arxiv_sequence') as query_id)
select
    case
        when exists (select from queries where queries.query_id = next.query_id) then 0
        else next.query_id
    end
from next
