-- The papers that the searches found. No foreign key to queries: each table may live on its own system.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0005_results') as pending \gset
\if :pending
    create table results (
        id bigint generated always as identity primary key,
        query_id bigint not null,
        timestamp bigint not null,
        result_number smallint not null check (result_number >= 0),
        author text not null,
        title text not null,
        journal text,
        -- also the order in which pages are read
        unique (query_id, result_number)
    );
    comment on column results.timestamp is 'Unix seconds: that of the search';
    comment on column results.result_number is 'place in the answer: 0, 1, ...';
    comment on column results.author is 'names with ", " between them';
    comment on column results.journal is 'journal reference, where arXiv has one';
    grant select, insert on results to arxiv_rw;
    grant select on results to arxiv_ro;
    insert into migrations (name) values ('0005_results');
    \echo applied 0005_results
\endif
commit;
