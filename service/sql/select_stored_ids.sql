-- Which of these papers have details, or are stored in this version. One look-up in an index each: a
-- join would read whole tables as long as they have not been analyzed, as during a first import.
with sent as (
    select arxiv_id, version::smallint as version
    from unnest(
        string_to_array(%(arxiv_ids)s::text, ' '), string_to_array(%(versions)s::text, ' ')
    ) as name (arxiv_id, version)
)
select sent.arxiv_id
from sent
cross join lateral (
    select from paper_details where paper_details.arxiv_id = sent.arxiv_id offset 0
) as stored
union
select sent.arxiv_id
from sent
cross join lateral (
    select from papers
    where papers.arxiv_id = sent.arxiv_id and papers.version = sent.version
    offset 0
) as stored
