-- Records a search under a number taken before. The same again changes nothing; another one under
-- the same number returns no row.
insert into queries as kept (query_id, timestamp, status, num_results, num_entries, query)
values (
    %(query_id)s, %(timestamp)s, %(status)s, %(num_results)s, %(num_entries)s, %(query)s
)
on conflict (query_id) do update set query_id = excluded.query_id
where (kept.timestamp, kept.status, kept.num_results, kept.num_entries, kept.query)
    = (excluded.timestamp, excluded.status, excluded.num_results, excluded.num_entries, excluded.query)
returning query_id
