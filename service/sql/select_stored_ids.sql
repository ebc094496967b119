-- Which of these papers have details, or are stored in this version.
with sent as (
    select arxiv_id, version::smallint as version
    from unnest(
        string_to_array(%(arxiv_ids)s::text, ' '), string_to_array(%(versions)s::text, ' ')
    ) as name (arxiv_id, version)
)
select arxiv_id from sent join paper_details using (arxiv_id)
union
select arxiv_id from sent join papers using (arxiv_id, version)
