-- Every search that was asked of arXiv, whatever came of it.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0004_queries') as pending \gset
\if :pending
    create table queries (
        id bigint generated always as identity primary key,
        query_id bigint not null unique,
        timestamp bigint not null,
        status smallint not null,
        num_results integer not null check (num_results >= 0),
        num_entries smallint not null check (num_entries >= 0),
        query text not null,
        outcome text not null default 'ok',
        write_key uuid unique
    );
    comment on column queries.timestamp is 'Unix seconds: the Date of arXiv''s answer';
    comment on column queries.status is 'HTTP status of arXiv''s answer; 0: there was none';
    comment on column queries.num_results is 'how many papers arXiv says there are in all';
    comment on column queries.num_entries is 'how many rows of results belong to this search';
    comment on column queries.query is 'what arXiv says it searched, without its prefix "arXiv Query: "';
    comment on column queries.outcome is
        'ok, or why there was no usable answer: refused, busy, unreachable, timeout, broken';
    comment on column queries.write_key is
        'made up anew for each record, so that a write whose fate is unknown can be repeated';
    -- ranges of time, in the order in which they are answered
    create index queries_timestamp on queries (timestamp, query_id);
    grant select, insert on queries to arxiv_rw;
    grant select on queries to arxiv_ro;
    insert into migrations (name) values ('0004_queries');
    \echo applied 0004_queries
\endif
commit;
