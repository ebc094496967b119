-- The key that signs the cookies of sessions and the tokens of forms. PostgreSQL generates it, so that it is
-- in no statement and no log, and instances that only read have it too.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0021_signing_keys') as pending \gset
\if :pending
    create table signing_keys (
        id smallint primary key default 1 check (id = 1),
        -- 244 random bits
        key bytea not null default sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
            check (octet_length(key) = 32)
    );
    comment on table signing_keys is 'one row: the key that signs sessions and forms';
    insert into signing_keys default values on conflict do nothing;
    grant select (key) on signing_keys to arxiv_rw, arxiv_ro;
    insert into migrations (name) values ('0021_signing_keys');
    \echo applied 0021_signing_keys
\endif
commit;
