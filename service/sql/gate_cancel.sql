-- Deletes a ticket, and its lease if it was granted in the meantime.
with ticket as (
    delete from gate_queue where ticket = %(ticket)s
)
update gate set holder = null where holder = %(ticket)s returning 0
