-- Which authors of a paper are groups, as marked by a colon in arXiv's list of authors.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0014_group_authors') as pending \gset
\if :pending
    -- The default is constant, so the table is not rewritten; instances of the previous version omit the column.
    alter table papers add column group_authors text[] not null default '{}';
    comment on column papers.group_authors is 'those of the authors that are groups, such as collaborations';
    insert into migrations (name) values ('0014_group_authors');
    \echo applied 0014_group_authors
\endif
commit;
