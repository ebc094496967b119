-- Lets an API key count no more; its row stays, to tell whose it was.
update api_keys set revoked = extract(epoch from clock_timestamp())::bigint
where name = %(name)s and revoked is null
