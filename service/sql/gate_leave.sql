-- Gives a place in the queue up, and the gate, if it was taken without its holder hearing of it.
with place as (
    delete from gate_queue where ticket = %(ticket)s
)
update gate set holder = null where holder = %(ticket)s
