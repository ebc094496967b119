-- The valid API keys with one of these digests.
select digest, name, quota, seconds from find_api_keys(%(digests)s::bytea[])
