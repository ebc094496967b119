-- Stores announcements of a day. If several feeds have a paper, the type in its primary category remains.
insert into announcements (date, arxiv_id, version, type, primary_category, cross_categories)
select %(date)s::date, arxiv_id, version, type, primary_category, cross_categories
from jsonb_to_recordset(%(announcements)s::jsonb) as new (
    arxiv_id text, version smallint, type text, primary_category text, cross_categories text[]
)
order by arxiv_id
on conflict (date, arxiv_id) do update set
    version = excluded.version,
    type = excluded.type,
    primary_category = excluded.primary_category,
    cross_categories = excluded.cross_categories
where array_position(array['new', 'replace', 'cross', 'replace-cross'], excluded.type)
    < array_position(array['new', 'replace', 'cross', 'replace-cross'], announcements.type)
