-- Deletes a ticket, and its lease if one was granted before the ticket was given up.
with ticket as (
    delete from gate_queue where ticket = %(ticket)s
)
update gate set holder = null where holder = %(ticket)s
