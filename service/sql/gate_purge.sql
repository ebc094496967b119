-- A process that has not renewed its place is gone.
delete from gate_queue where expires < clock_timestamp()
