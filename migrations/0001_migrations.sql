-- What has been applied is written down here, each migration by the transaction that made it.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
create table if not exists migrations (
    name text primary key,
    applied_at timestamptz not null default now()
);
select not exists (select from migrations where name = '0001_migrations') as pending \gset
\if :pending
    -- nobody but the roles of the next migration may look in or leave things here
    revoke all on schema public from public;
    select format('revoke all on database %I from public', current_database()) \gexec
    insert into migrations (name) values ('0001_migrations');
    \echo applied 0001_migrations
\endif
commit;
