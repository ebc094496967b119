-- When a paper was announced, the latest first.
select date, type, version
from announcements
where arxiv_id = %(arxiv_id)s::text
order by date desc
