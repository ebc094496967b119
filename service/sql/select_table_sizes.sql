-- The size of each table with its indexes, and an estimate of its rows (null before the first
-- vacuum or analyze), the largest first.
select relname::text, pg_total_relation_size(oid) as bytes, nullif(reltuples, -1)::bigint
from pg_class
where relkind = 'r' and relnamespace = 'public'::regnamespace
order by bytes desc, relname
