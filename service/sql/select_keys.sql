-- All API keys, revoked ones too, the oldest first, without their digests.
select name, beginning, quota, seconds, made, revoked from api_keys order by id
