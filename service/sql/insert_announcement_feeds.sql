-- Plans to read feeds of a day.
insert into announcement_feeds (date, feed)
select %(date)s::date, unnest(%(feeds)s::text[])
on conflict do nothing
