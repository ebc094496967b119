-- Versions of papers that were written by transactions from a position on, in the order of the
-- transactions. What has not begun yet cannot have written anything: such rows come from another server.
select arxiv_id, version, changed::text::bigint as changed, first_timestamp
from papers
where (changed, arxiv_id, version) > (
        %(after_changed)s::text::xid8, %(after_arxiv_id)s::text, %(after_version)s::smallint
    )
    and changed < %(next)s::text::xid8
-- the column, whose index has this order, and not the number above
order by papers.changed, arxiv_id, version
limit %(limit)s::bigint
