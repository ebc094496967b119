-- What makes recorded searches answer later ones: which search it was, and which papers came.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0007_memory') as pending \gset
\if :pending
    alter table queries add column search_key uuid, add column remarks json;
    comment on column queries.search_key is
        'digest of all that was sent to arXiv: the same search has the same';
    comment on column queries.remarks is
        'where arXiv searched something else than was meant, and which ids it did not send';
    comment on column queries.outcome is
        'ok; suspect: papers are missing; or why there was no usable answer: refused, busy,'
        ' unreachable, timeout, broken';
    alter table queries
        add column recorded bigint not null default extract(epoch from clock_timestamp())::bigint;
    comment on column queries.recorded is 'Unix seconds of this server: when the row was made';
    create index queries_search_key on queries (search_key, query_id desc) where outcome = 'ok';
    alter table results add column arxiv_id text, add column version smallint;
    insert into migrations (name) values ('0007_memory');
    \echo applied 0007_memory
\endif
commit;
