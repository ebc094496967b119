-- Stores what the API does not have of papers, in the order of the key.
insert into paper_details (
    arxiv_id, version, datestamp, submitter, license, report_number, msc_class, acm_class, versions,
    source, other_sources
)
select
    arxiv_id, version, datestamp, submitter, license, report_number, msc_class, acm_class, versions,
    source, other_sources
from json_to_recordset(%(details)s::json) as (
    arxiv_id text, version smallint, datestamp bigint, submitter text, license text,
    report_number text, msc_class text, acm_class text, versions jsonb, source text,
    other_sources jsonb
)
order by arxiv_id
on conflict (arxiv_id) do update set
    version = excluded.version,
    datestamp = excluded.datestamp,
    submitter = excluded.submitter,
    license = excluded.license,
    report_number = excluded.report_number,
    msc_class = excluded.msc_class,
    acm_class = excluded.acm_class,
    versions = excluded.versions,
    source = excluded.source,
    other_sources = excluded.other_sources
