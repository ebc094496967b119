-- Revokes an API key; its row stays, as a record of whose it was.
update api_keys set revoked = extract(epoch from clock_timestamp())::bigint
where name = %(name)s and revoked is null
