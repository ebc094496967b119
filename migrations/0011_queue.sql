-- What tells of a search that waited in a queue when its answer was acknowledged.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0011_queue') as pending \gset
\if :pending
    alter table queries add column acknowledged bigint;
    comment on column queries.acknowledged is
        'Unix seconds: when a search that then waited in a queue was answered; null: as recorded';
    insert into migrations (name) values ('0011_queue');
    \echo applied 0011_queue
\endif
commit;
