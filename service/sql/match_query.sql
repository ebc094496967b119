-- One row if exactly this search is recorded under its query_id.
select from queries
where query_id = %(query_id)s
    and timestamp = %(timestamp)s
    and status = %(status)s
    and num_results = %(num_results)s
    and num_entries = %(num_entries)s
    and query = %(query)s
    and outcome = %(outcome)s
