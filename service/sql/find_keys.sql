-- The API keys that count, of those with these digests.
select digest, name, quota, seconds from find_api_keys(%(digests)s::bytea[])
