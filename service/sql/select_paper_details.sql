-- What the API does not have of a paper, and where the fields of one of its versions come from.
select
    submitter, license, report_number, msc_class, acm_class, coalesce(versions, '[]') as versions,
    paper_details.source, paper_details.other_sources, papers.source as paper_source,
    papers.other_sources as other_paper_sources
from papers
left join paper_details using (arxiv_id)
where papers.arxiv_id = %(arxiv_id)s::text and papers.version = %(version)s::smallint
