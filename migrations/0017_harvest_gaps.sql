-- Papers that a harvest skipped because arXiv's responses with them were unusable. The next harvest
-- of the query requests them again.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0017_harvest_gaps') as pending \gset
\if :pending
    alter table harvests add column stop integer;
    comment on column harvests.stop is
        'where the papers that are requested again end; null while new papers are retrieved';
    create table harvest_gaps (
        gap_id bigint generated always as identity primary key,
        harvest_id bigint not null,
        submitted_from bigint not null,
        start integer not null,
        stop integer not null,
        missing integer not null,
        reason text not null
    );
    comment on column harvest_gaps.submitted_from is 'Unix seconds: where their window begins';
    comment on column harvest_gaps.start is 'position of the first paper in that window';
    comment on column harvest_gaps.stop is 'position after the last paper';
    comment on column harvest_gaps.missing is 'how many papers in this range are missing';
    create index harvest_gaps_harvest_id on harvest_gaps (harvest_id);
    grant select, insert, delete on harvest_gaps to arxiv_rw;
    grant select on harvest_gaps to arxiv_ro;
    insert into migrations (name) values ('0017_harvest_gaps');
    \echo applied 0017_harvest_gaps
\endif
commit;
