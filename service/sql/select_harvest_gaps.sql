-- What all harvests of a query have skipped, the oldest first.
select
    gap_id, harvest_id, harvest_gaps.submitted_from, harvest_gaps.start, harvest_gaps.stop, missing,
    reason
from harvest_gaps
join harvests using (harvest_id)
where query = %(query)s
order by gap_id
