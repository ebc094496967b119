-- Keys of those who use the API. Of a key there is a digest, which no role of the service may read.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0012_api_keys') as pending \gset
\if :pending
    create table api_keys (
        id bigint generated always as identity primary key,
        name text not null,
        digest bytea not null unique check (octet_length(digest) = 32),
        beginning text not null,
        quota integer not null check (quota > 0),
        seconds integer not null check (seconds > 0),
        made bigint not null default extract(epoch from clock_timestamp())::bigint,
        revoked bigint
    );
    comment on column api_keys.name is 'whose key it is; the log has it';
    comment on column api_keys.digest is 'SHA-256 of the key';
    comment on column api_keys.beginning is 'the key''s first characters, to tell keys apart';
    comment on column api_keys.quota is 'how many requests it may make in so many seconds';
    comment on column api_keys.made is 'Unix seconds';
    comment on column api_keys.revoked is 'Unix seconds; null while it counts';
    create unique index api_keys_name on api_keys (name) where revoked is null;
    -- With it a role can tell whether somebody's key counts, and not which digests there are.
    create function find_api_keys(digests bytea[])
        returns table (digest bytea, name text, quota integer, seconds integer)
        language sql stable security definer set search_path = public, pg_temp
        as $$
            select digest, name, quota, seconds
            from api_keys
            where digest = any (digests) and revoked is null
        $$;
    comment on function find_api_keys is 'the keys that count, of those with these digests';
    revoke all on function find_api_keys from public;
    grant execute on function find_api_keys to arxiv_rw, arxiv_ro;
    grant
        select (id, name, beginning, quota, seconds, made, revoked),
        insert (name, digest, beginning, quota, seconds),
        update (revoked)
    on api_keys to arxiv_rw;
    insert into migrations (name) values ('0012_api_keys');
    \echo applied 0012_api_keys
\endif
commit;
