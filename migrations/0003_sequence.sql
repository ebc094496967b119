-- The numbers of searches. It stands alone, so that it can live on a system of its own.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0003_sequence') as pending \gset
\if :pending
    create sequence arxiv_sequence as bigint;
    grant usage on sequence arxiv_sequence to arxiv_rw, arxiv_sequence;
    insert into migrations (name) values ('0003_sequence');
    \echo applied 0003_sequence
\endif
commit;
