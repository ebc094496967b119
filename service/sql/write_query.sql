-- Records a search under a number taken before; no row where that number is in use.
insert into queries (query_id, timestamp, status, num_results, num_entries, query, outcome)
values (
    %(query_id)s, %(timestamp)s, %(status)s, %(num_results)s, %(num_entries)s, %(query)s,
    %(outcome)s
)
on conflict (query_id) do nothing
