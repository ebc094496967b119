-- One day of announcements, by default the latest one: their numbers by type, the days before and after it,
-- and how many of its feeds are missing. With categories, types are those in them.
with day as (
    select coalesce(%(date)s::date, (select max(date) from announcements)) as date
)
select
    day.date,
    (
        select coalesce(jsonb_object_agg(type, number), '{}') from (
            select relative.type, count(*) as number
            from announcements
            cross join lateral (
                select announced_type(
                    announcements.type, primary_category, cross_categories, %(category)s::text[]
                )
            ) as relative (type)
            where announcements.date = day.date and relative.type is not null
            group by 1
        ) as counted
    ) as counts,
    (select max(date) from announcements where date < day.date) as previous,
    (select min(date) from announcements where date > day.date) as next,
    (select count(*) from announcement_feeds where date = day.date) as feeds,
    (
        select count(*) from announcement_feeds
        where date = day.date and (fetched is null or is_stale)
    ) as missing_feeds
from day
