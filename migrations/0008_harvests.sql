-- Long jobs: how far each has come, moved on by the transaction that records its next page.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0008_harvests') as pending \gset
\if :pending
    create table harvests (
        harvest_id bigint generated always as identity primary key,
        query text not null,
        submitted_to bigint not null,
        submitted_from bigint not null,
        start integer not null default 0,
        page integer not null default 0,
        finished boolean not null default false
    );
    comment on column harvests.query is 'in arXiv''s query language';
    comment on column harvests.submitted_to is
        'Unix seconds: when it began; papers submitted later are left to the next harvest';
    comment on column harvests.submitted_from is 'Unix seconds: where the next page''s window begins';
    comment on column harvests.start is 'how many papers of that window are done';
    comment on column harvests.page is 'how many pages are recorded';
    create index harvests_query on harvests (query, harvest_id);
    -- one harvest of a query at a time, however many processes work at it
    create unique index harvests_under_way on harvests (query) where not finished;
    alter table queries add column harvest_id bigint, add column harvest_page integer;
    -- two processes at the same harvest cannot record the same page
    create unique index queries_harvest_page on queries (harvest_id, harvest_page)
        where harvest_id is not null;
    grant select, insert, update on harvests to arxiv_rw;
    grant select on harvests to arxiv_ro;
    insert into migrations (name) values ('0008_harvests');
    \echo applied 0008_harvests
\endif
commit;
