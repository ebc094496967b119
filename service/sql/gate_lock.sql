-- Locks the rate limiter until the end of the transaction.
select from gate for update
