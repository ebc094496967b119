-- Records a search under the query_id taken for it, or under the next one of the sequence.
insert into queries (
    query_id, timestamp, status, num_results, num_entries, query, outcome, write_key, search_key,
    remarks, feed_link, harvest_id, harvest_page
)
values (
    coalesce(%(query_id)s::bigint, nextval('arxiv_sequence')), %(timestamp)s, %(status)s,
    %(num_results)s, %(num_entries)s, %(query)s, %(outcome)s, %(write_key)s, %(search_key)s,
    %(remarks)s::json, %(feed_link)s, %(harvest_id)s, %(harvest_page)s
)
returning query_id
