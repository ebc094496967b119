-- What a recorded search needs to be answered as by arXiv's own API.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0016_api_query') as pending \gset
\if :pending
    -- Null in older rows and in those of instances of the previous version; the tables are not rewritten.
    alter table queries add column feed_link text;
    comment on column queries.feed_link is 'the link of arXiv''s feed, which shows how arXiv parsed the query';
    alter table papers add column sent jsonb;
    comment on column papers.sent is
        'texts as arXiv sent them, where white space, authors, DOIs or links were corrected';
    insert into migrations (name) values ('0016_api_query');
    \echo applied 0016_api_query
\endif
commit;
