-- The newest record of all snapshots that were imported completely, in Unix seconds.
select max(newest_datestamp) from mirror_imports where finished is not null
