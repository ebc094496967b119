-- Takes one number, which nobody else will get.
select nextval('arxiv_sequence') as sequence
