-- Indexes for pages, exports and filters, made while searches go on being recorded.
-- Such an index cannot be made inside a transaction, and waits for all that are under way. Who else
-- migrates meanwhile must therefore wait outside of one, and not at the lock of the other migrations:
-- the two would wait for each other.
\set ON_ERROR_STOP on
set client_min_messages = warning;
do $$
begin
    while not pg_try_advisory_lock(hashtext('arxiv-gateway indexes')) loop
        commit;
        perform pg_sleep(0.1);
        commit;
    end loop;
end $$;
select not exists (select from migrations where name = '0010_reading') as pending \gset
\if :pending
    -- what an earlier try that was cut off has left
    select format('drop index concurrently %I', relname)
    from pg_index join pg_class on pg_class.oid = indexrelid
    where not indisvalid
        and relname in ('results_timestamp', 'results_words', 'results_paper', 'queries_unkeyed')
    \gexec
    -- the order of pages and exports; ranges of time
    create index concurrently if not exists results_timestamp
        on results (timestamp, query_id, result_number);
    -- filters by author, title and journal
    create index concurrently if not exists results_words
        on results using gin (result_words(title, author, journal));
    -- from a paper to where it was found: the filter by category
    create index concurrently if not exists results_paper on results (arxiv_id, version);
    -- earlier runs of searches that were recorded by operators, without a key
    create index concurrently if not exists queries_unkeyed
        on queries (md5(query), query_id) where search_key is null;
    -- papers of searches that a service of the version before has recorded meanwhile
    insert into papers (arxiv_id, version, timestamp, first_timestamp, title, authors, journal)
    select distinct on (arxiv_id, coalesce(version, 0))
        arxiv_id, coalesce(version, 0), timestamp, timestamp, title,
        case when author = '' then '{}' else string_to_array(author, ', ') end, journal
    from results
    where arxiv_id is not null
        and not exists (
            select from papers
            where papers.arxiv_id = results.arxiv_id
                and papers.version = coalesce(results.version, 0)
        )
    order by arxiv_id, coalesce(version, 0), timestamp
    on conflict do nothing;
    -- the planner's figures for the words
    analyze results, papers;
    insert into migrations (name) values ('0010_reading');
    \echo applied 0010_reading
\endif
select pg_advisory_unlock(hashtext('arxiv-gateway indexes')) as unlocked \gset
