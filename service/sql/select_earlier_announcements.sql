-- When papers in a feed were announced before, in the days in which a stale feed may show them again.
select arxiv_id, version, type
from announcements
where arxiv_id = any(%(arxiv_ids)s::text[])
    and date < %(date)s::date and date >= %(date)s::date - 30
