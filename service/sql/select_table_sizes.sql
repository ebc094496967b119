-- The size of each table with its indexes, and an estimate of its rows, the largest first.
select relname::text, pg_total_relation_size(oid) as bytes, greatest(reltuples, 0)::bigint
from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace
order by bytes desc, relname
