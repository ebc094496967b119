-- The log of changed papers, from which each machine keeps its own search index. It replaces full-text
-- search in PostgreSQL: its column is dropped, and with it its index. The index of the categories stays,
-- since results are filtered by it.
-- Like 0010_reading this runs outside of a transaction, since an index is created concurrently. It can be
-- interrupted and applied again. Rows are not rewritten: they keep the space of the dropped column until
-- they are updated, or until VACUUM FULL. Instances of the previous version go on recording searches,
-- but cannot list papers any more.
\set ON_ERROR_STOP on
set client_min_messages = warning;
do $$
begin
    while not pg_try_advisory_lock(hashtext('arxiv-gateway indexes')) loop
        commit;
        perform pg_sleep(0.1);
        commit;
    end loop;
end $$;
select not exists (select from migrations where name = '0018_search_index') as pending \gset
\if :pending
    -- Reads and writes queue behind the exclusive lock while it is waited for, so each attempt is short.
    -- Every tenth is long enough to end an autovacuum, which yields after deadlock_timeout, a second.
    do $$
    declare
        attempt int := 0;
    begin
        loop
            begin
                attempt := attempt + 1;
                perform set_config(
                    'lock_timeout', case when attempt % 10 = 0 then '1500ms' else '200ms' end, true
                );
                lock table papers in access exclusive mode;
                -- without a default, which would rewrite the table
                alter table papers add column if not exists changed xid8;
                comment on column papers.changed is
                    'the transaction that wrote the row; null if that was before 0018_search_index';
                -- A trigger and not a default: inserts may have values for the column, such as those of
                -- a dump. They would be those of another server.
                create or replace function set_changed() returns trigger
                    language plpgsql
                    as 'begin new.changed := pg_current_xact_id(); return new; end';
                comment on function set_changed is 'records the transaction that writes a paper';
                drop trigger if exists papers_changed on papers;
                create trigger papers_changed before insert or update on papers
                    for each row execute function set_changed();
                -- for rows that logical replication writes, too
                alter table papers enable always trigger papers_changed;
                alter table papers drop column if exists words;
                drop function if exists paper_words;
                exit;
            exception when lock_not_available then
                if attempt = 10 then
                    raise warning 'waiting for a moment without transactions that use the table papers';
                end if;
            end;
            commit;
            perform pg_sleep(0.5);
            commit;
        end loop;
    end $$;

    -- what an interrupted attempt has left
    select format('drop index concurrently %I', relname)
    from pg_index join pg_class on pg_class.oid = indexrelid
    where not indisvalid and relname = 'papers_changed'
    \gexec
    -- what has changed since a position, in the order of the changes
    create index concurrently if not exists papers_changed
        on papers (changed, arxiv_id, version) where changed is not null;
    insert into migrations (name) values ('0018_search_index');
    \echo applied 0018_search_index
\endif
select pg_advisory_unlock(hashtext('arxiv-gateway indexes')) as unlocked \gset
