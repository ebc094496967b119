-- The migrations that were applied to this database.
select name from migrations order by name
