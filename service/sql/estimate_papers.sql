-- About how many papers there are, as PostgreSQL last counted them; -1 if it has not.
select reltuples::bigint from pg_class where oid = 'papers'::regclass
