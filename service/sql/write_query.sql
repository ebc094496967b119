-- Records a search under a query_id taken before; no row if the query_id is in use.
insert into queries (query_id, timestamp, status, num_results, num_entries, query, outcome)
values (
    %(query_id)s, %(timestamp)s, %(status)s, %(num_results)s, %(num_entries)s, %(query)s,
    %(outcome)s
)
on conflict (query_id) do nothing
