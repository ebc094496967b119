-- All API keys there have been, the oldest first, without their digests.
select name, beginning, quota, seconds, made, revoked from api_keys order by id
