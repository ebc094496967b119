-- The migrations this database has had.
select name from migrations order by name
