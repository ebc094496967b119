-- The mirror of arXiv's metadata: where each field comes from, what the API does not have, what was
-- announced when, and the progress of syncs and imports.
-- Like 0010_reading this runs outside of a transaction, and can be interrupted and applied again. The
-- new columns of existing tables have constant defaults, so no table is rewritten; instances of the
-- previous version omit them.
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
select not exists (select from migrations where name = '0019_mirror') as pending \gset
\if :pending
    -- Reads and writes queue behind the exclusive lock while it is waited for, so each attempt is short.
    -- Every tenth is long enough to end an autovacuum, which yields after deadlock_timeout, a second.
    do $$
    declare
        attempt int := 0;
    begin
        loop
            begin
                attempt := attempt + 1;
                perform set_config(
                    'lock_timeout', case when attempt % 10 = 0 then '1500ms' else '200ms' end, true
                );
                lock table papers, gate_queue in access exclusive mode;
                alter table papers add column if not exists source text not null default 'api';
                alter table papers add column if not exists other_sources jsonb;
                alter table gate_queue add column if not exists priority smallint not null default 0;
                exit;
            exception when lock_not_available then
                if attempt = 10 then
                    raise warning 'waiting for a moment without transactions that use the table papers';
                end if;
            end;
            commit;
            perform pg_sleep(0.5);
            commit;
        end loop;
    end $$;

    begin;
    comment on column papers.source is
        'where the row comes from: api, arXiv or arXivRaw (formats of OAI-PMH), snapshot, rss';
    comment on column papers.other_sources is 'the fields that come from another source, with its name';
    comment on column gate_queue.priority is '0 for searches; 1 for background work, which is served last';

    create table if not exists paper_details (
        arxiv_id text primary key,
        version smallint not null,
        datestamp bigint not null,
        submitter text,
        license text,
        report_number text,
        msc_class text,
        acm_class text,
        versions jsonb not null default '[]',
        source text not null,
        other_sources jsonb
    );
    comment on table paper_details is 'what the API does not have of a paper; one row for all its versions';
    comment on column paper_details.version is 'the latest version';
    comment on column paper_details.datestamp is
        'Unix seconds: the start of the day on which arXiv changed the record last';
    comment on column paper_details.versions is
        'of each version: number, Unix seconds of its submission, size, type of its source';
    comment on column paper_details.source is 'where the row comes from, as papers.source';

    create table if not exists mirror_syncs (
        set_spec text primary key,
        covered_from date,
        covered_until date,
        synced_at bigint,
        run_from date,
        run_until date,
        run_next date,
        window_until date,
        token text,
        metadata_prefix text,
        run_started bigint,
        run_records bigint not null default 0,
        skipped date[] not null default '{}',
        error text,
        holder uuid,
        held_until timestamptz not null default '-infinity',
        run_invalid bigint not null default 0,
        retry_at timestamptz not null default '-infinity'
    );
    comment on table mirror_syncs is 'progress of the sync with OAI-PMH, by set';
    comment on column mirror_syncs.set_spec is 'the set; empty: all papers';
    comment on column mirror_syncs.covered_from is
        'all records that arXiv changed from this day on are stored';
    comment on column mirror_syncs.covered_until is 'up to this day';
    comment on column mirror_syncs.synced_at is
        'Unix seconds: when the latest complete run began, by the clock of the server';
    comment on column mirror_syncs.run_next is 'the first day that the current run has not completed';
    comment on column mirror_syncs.window_until is 'the last day of the current list of records';
    comment on column mirror_syncs.token is 'the resumption token of its next page';
    comment on column mirror_syncs.skipped is
        'days of the current run for which arXiv sent no usable response';
    comment on column mirror_syncs.holder is 'the process that syncs, until held_until';
    comment on column mirror_syncs.run_invalid is
        'records of the latest run that could not be used';
    comment on column mirror_syncs.retry_at is
        'when a sync that failed may be repeated, by any process';

    create table if not exists mirror_imports (
        digest text primary key,
        file_name text not null,
        lines bigint not null,
        position bigint not null,
        rejected bigint not null,
        newest_datestamp bigint not null,
        started bigint not null,
        finished bigint,
        tail_digest text not null default '',
        is_whole boolean not null default false
    );
    comment on table mirror_imports is 'progress of imports of snapshots, by file';
    comment on column mirror_imports.digest is 'of the size and the beginning of the file';
    comment on column mirror_imports.lines is 'lines that are stored or rejected';
    comment on column mirror_imports.position is 'bytes of these lines';
    comment on column mirror_imports.newest_datestamp is 'Unix seconds: the newest update_date';
    comment on column mirror_imports.finished is 'Unix seconds: null until all lines are stored';
    comment on column mirror_imports.tail_digest is 'of the last bytes before position';
    comment on column mirror_imports.is_whole is
        'whether the file has all papers, so that the next sync continues from it';

    create table if not exists announcements (
        date date not null,
        arxiv_id text not null,
        version smallint not null,
        type text not null check (type in ('new', 'cross', 'replace', 'replace-cross')),
        primary_category text not null,
        cross_categories text[] not null,
        primary key (date, arxiv_id)
    );
    comment on table announcements is 'which papers arXiv announced when';
    comment on column announcements.date is 'the day of the feed, in US Eastern time';
    comment on column announcements.type is 'in the primary category, unless it was announced elsewhere only';
    comment on column announcements.cross_categories is
        'the other categories, without a second name of the primary one';
    create index if not exists announcements_arxiv_id on announcements (arxiv_id);
    create or replace function announced_type(
        type text, primary_category text, cross_categories text[], categories text[]
    ) returns text
        language sql immutable parallel safe
        return case
            when categories is null then type
            when type in ('new', 'replace') and primary_category = any(categories) then type
            when cross_categories && categories
                then case type when 'new' then 'cross' when 'replace' then 'replace-cross' else type end
        end;
    comment on function announced_type is
        'the type of an announcement in these categories; null if it was not announced there';
    create table if not exists announcement_feeds (
        date date not null,
        feed text not null,
        fetched bigint,
        items integer not null default 0,
        is_stale boolean not null default false,
        not_before timestamptz not null default '-infinity',
        primary key (date, feed)
    );
    comment on table announcement_feeds is 'the RSS feeds of each day that are read or to be read';
    comment on column announcement_feeds.feed is 'archives or categories, joined by +';
    comment on column announcement_feeds.fetched is 'Unix seconds; null until it has been read';
    comment on column announcement_feeds.is_stale is
        'whether it had papers of another day; it is read again';
    comment on column announcement_feeds.not_before is
        'when it may be requested; later than now while a process reads it';

    grant usage on sequence gate_queue_place_seq to arxiv_rw;
    grant select, insert, update on paper_details, mirror_syncs, mirror_imports to arxiv_rw;
    grant select, insert, update on announcements, announcement_feeds to arxiv_rw;
    grant select on paper_details, mirror_syncs, mirror_imports to arxiv_ro;
    grant select on announcements, announcement_feeds to arxiv_ro;
    insert into migrations (name) values ('0019_mirror');
    commit;
    \echo applied 0019_mirror
\endif
select pg_advisory_unlock(hashtext('arxiv-gateway indexes')) as unlocked \gset
