-- Starts a harvest, unless one of this query is unfinished.
insert into harvests (query, submitted_to, submitted_from)
values (%(query)s, %(submitted_to)s, %(submitted_from)s)
on conflict (query) where not finished do nothing
