-- The details that records may change, locked in the order in which all writers lock them.
select
    arxiv_id, version, datestamp, submitter, license, report_number, msc_class, acm_class, versions,
    source, other_sources
from paper_details
where arxiv_id = any(%(arxiv_ids)s::text[])
order by arxiv_id
for update
