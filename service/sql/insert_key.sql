-- Stores a new API key.
insert into api_keys (name, digest, beginning, quota, seconds)
values (%(name)s, %(digest)s, %(beginning)s, %(quota)s, %(seconds)s)
