-- Gives a place in the queue up.
delete from gate_queue where ticket = %(ticket)s
