-- Deletes the tickets of processes that no longer renew them.
delete from gate_queue where expires < clock_timestamp()
