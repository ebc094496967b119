-- Revokes an API key; its row remains as a record of the owner.
update api_keys set revoked = extract(epoch from clock_timestamp())::bigint
where name = %(name)s and revoked is null
