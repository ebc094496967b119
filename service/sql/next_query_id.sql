-- Takes a query_id from the sequence.
select nextval('arxiv_sequence') as sequence
