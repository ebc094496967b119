-- Stores the progress of a harvest, with the gap that it leaves and the one that it retries, unless
-- another process has stored this page. A gap may be in the margin of another one that is retried.
with moved as (
    update harvests
    set submitted_from = %(submitted_from)s,
        start = %(start)s,
        stop = %(stop)s,
        page = %(page)s,
        finished = %(finished)s
    where harvest_id = %(harvest_id)s and page < %(page)s
    returning harvest_id
),
skipped as (
    insert into harvest_gaps (harvest_id, submitted_from, start, stop, missing, reason)
    select
        harvest_id, %(gap_submitted_from)s::bigint, %(gap_start)s::integer, %(gap_stop)s::integer,
        %(gap_missing)s::integer, %(gap_reason)s::text
    from moved
    where %(gap_missing)s::integer is not null
        and not exists (
            select from harvest_gaps as other
            join harvests as theirs on theirs.harvest_id = other.harvest_id
            join harvests as ours on ours.query = theirs.query
            where ours.harvest_id = %(harvest_id)s
                and other.submitted_from = %(gap_submitted_from)s::bigint
                and other.start <= %(gap_start)s::integer
                and other.stop >= %(gap_stop)s::integer
        )
),
retried as (
    delete from harvest_gaps
    using moved
    where gap_id = %(retried_gap_id)s::bigint
)
select harvest_id from moved
