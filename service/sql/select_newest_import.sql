-- The day up to which the whole snapshots that were imported are complete, in Unix seconds: that of
-- the newest record, and one before the import at the latest.
select max(least(newest_datestamp, started - 86400)) from mirror_imports
where finished is not null and is_whole
