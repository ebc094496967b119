-- Inserts what the API does not have of papers that are not stored.
copy paper_details (
    arxiv_id, version, datestamp, submitter, license, report_number, msc_class, acm_class, versions,
    source, other_sources
) from stdin (format binary)
