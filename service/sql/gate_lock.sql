-- From here to the commit nobody else looks at the gate or its queue.
select from gate for update
