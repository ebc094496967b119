-- Moves a harvest on, with the page that has just been recorded.
update harvests
set submitted_from = %(submitted_from)s,
    start = %(start)s,
    page = %(page)s,
    finished = %(finished)s
where harvest_id = %(harvest_id)s
