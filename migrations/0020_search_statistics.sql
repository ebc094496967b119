-- How many searches ended how in each hour, and how long they waited for the rate limiter. Most searches are
-- answered from the cache and leave no row in `queries`.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0020_search_statistics') as pending \gset
\if :pending
    create table search_statistics (
        hour bigint not null,
        outcome text not null,
        answered_by text not null,
        searches bigint not null,
        waited bigint not null,
        wait_seconds float8 not null,
        longest_wait float8 not null,
        primary key (hour, outcome, answered_by)
    );
    comment on table search_statistics is 'searches by hour; each process adds its counts every minute';
    comment on column search_statistics.hour is 'Unix seconds: when the hour began';
    comment on column search_statistics.outcome is 'as in the metric arxiv_gateway_searches_total';
    comment on column search_statistics.answered_by is 'as in that metric';
    comment on column search_statistics.waited is 'searches that waited for the rate limiter and then got the lease';
    comment on column search_statistics.wait_seconds is 'how long these waited in all';
    comment on column search_statistics.longest_wait is 'how many seconds one of these waited at most';
    grant select, insert, update on search_statistics to arxiv_rw;
    grant select on search_statistics to arxiv_ro;
    insert into migrations (name) values ('0020_search_statistics');
    \echo applied 0020_search_statistics
\endif
commit;
