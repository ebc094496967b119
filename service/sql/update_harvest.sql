-- Stores the progress of a harvest, together with the page that was just recorded.
update harvests
set submitted_from = %(submitted_from)s,
    start = %(start)s,
    page = %(page)s,
    finished = %(finished)s
where harvest_id = %(harvest_id)s
