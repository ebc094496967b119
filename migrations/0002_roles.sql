-- One role for each purpose: arxiv_rw records, arxiv_ro reads, arxiv_sequence hands out numbers.
-- Roles belong to the whole server, so another database of it may have made them already.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0002_roles') as pending \gset
\if :pending
    do $$
    declare
        role name;
    begin
        foreach role in array array['arxiv_rw', 'arxiv_ro', 'arxiv_sequence']::name[] loop
            begin
                execute format('create role %I login', role);
            exception
                when duplicate_object or unique_violation then null;
            end;
        end loop;
    end $$;
    select format('grant connect on database %I to arxiv_rw, arxiv_ro, arxiv_sequence', current_database())
    \gexec
    -- A call of the service ends after ten seconds. What it left running must end by itself, or it
    -- would keep a connection, and commit what was reported as failed.
    alter role arxiv_rw set statement_timeout = '9s';
    alter role arxiv_ro set statement_timeout = '9s';
    alter role arxiv_rw set idle_in_transaction_session_timeout = '9s';
    alter role arxiv_ro set idle_in_transaction_session_timeout = '9s';
    select format('alter role %I set transaction_timeout = %L', role, '9s')
    from unnest(array['arxiv_rw', 'arxiv_ro']) as role
    where current_setting('server_version_num')::int >= 170000
    \gexec
    grant usage on schema public to arxiv_rw, arxiv_ro, arxiv_sequence;
    grant select on migrations to arxiv_rw, arxiv_ro, arxiv_sequence;
    insert into migrations (name) values ('0002_roles');
    \echo applied 0002_roles
\endif

-- Passwords come from the environment, whenever it has them: so they can be changed by applying again.
-- A role without one can log in only where the server trusts it without.
\set password `printf %s "$DB_RW_PASSWORD"`
select format('alter role arxiv_rw password %L', :'password') where :'password' <> '' \gexec
\set password `printf %s "$DB_RO_PASSWORD"`
select format('alter role arxiv_ro password %L', :'password') where :'password' <> '' \gexec
\set password `printf %s "$DB_SEQUENCE_PASSWORD"`
select format('alter role arxiv_sequence password %L', :'password') where :'password' <> '' \gexec
\unset password
commit;
