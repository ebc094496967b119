-- Every paper that any search found, one row for each version, with the words to find it by.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0009_papers') as pending \gset
\if :pending
    -- English word stems, but no stop words: authors named He can be found, and "to be or not to be"
    create text search dictionary english_words (template = snowball, language = english);
    create text search configuration arxiv (copy = simple);
    alter text search configuration arxiv alter mapping for asciiword, word with english_words;
    -- Accents go, and symbols become spaces: PostgreSQL's parser would take AdS/CFT for a file, GPT-4
    -- for a negative number, and what stands between < and > for nothing.
    create function fold(original text) returns text
        language sql immutable strict parallel safe
        return translate(
            case
                when octet_length(original) = length(original) then original
                else regexp_replace(
                    translate(
                        normalize(
                            regexp_replace(normalize(original, nfkd), '[\u0300-\u036f]+', '', 'g'),
                            nfc
                        ),
                        'øØłŁđĐħĦı', 'oOlLdDhHi'
                    ),
                    '[\u0080-\u00bf\u00d7\u00f7\u02b9-\u02ff\u1680\u2000-\u2bff\u2e00-\u2e7f'
                    '\u3000-\u3020\u3030\ue000-\uf8ff\ufe00-\ufe6f\ufeff\ufff9-\uffff'
                    '\U0001f000-\U0001faff]',
                    ' ', 'g'
                )
            end,
            '<>&/-+~.', '        '
        );
    create function bare(original text) returns text
        language sql immutable strict parallel safe
        return translate(lower(fold(original)), ' ,;:()[]{}"''', '');
    -- Two comparisons, since the second takes twenty times as long: where all is ASCII, the words must at
    -- least come one after the other. It is not strict, so that the planner can take it apart.
    create function holds(original text, part text) returns boolean
        language sql immutable parallel safe
        return (
            octet_length(original) <> length(original)
            or lower(original)
                like '%' || regexp_replace(lower(fold(part)), '[^[:alnum:]]+', '%', 'g') || '%'
        )
        and position(bare(part) in bare(original)) > 0;
    create function listed(names text[]) returns text
        language sql immutable strict parallel safe
        return array_to_string(names, ', ');
    -- a tsvector holds a megabyte: longer texts than any paper has are cut
    create function paper_words(title text, author text, abstract text, note text) returns tsvector
        language sql immutable parallel safe cost 1000
        return
            setweight(to_tsvector('arxiv'::regconfig, coalesce(fold(left(title, 10000)), '')), 'A')
            || setweight(to_tsvector('arxiv'::regconfig, coalesce(fold(left(author, 100000)), '')), 'B')
            || setweight(to_tsvector('arxiv'::regconfig, coalesce(fold(left(abstract, 50000)), '')), 'C')
            || setweight(to_tsvector('arxiv'::regconfig, coalesce(fold(left(note, 20000)), '')), 'D');
    create function result_words(title text, author text, journal text) returns tsvector
        language sql immutable parallel safe cost 1000
        return to_tsvector(
            'arxiv'::regconfig,
            fold(left(title, 10000) || ' ' || left(author, 100000) || ' ' || coalesce(left(journal, 20000), ''))
        );
    comment on function fold is 'the words of a text without accents and symbols';
    comment on function bare is 'the letters and digits of a text, in a row, for comparison';
    comment on function holds is 'whether a text has this part; accents and punctuation do not matter';
    comment on function listed is 'names as results.author has them';
    comment on function paper_words is
        'what full text search finds; the weight tells where: title, author, abstract, note';
    comment on function result_words is
        'what filters of results look for first, in whatever column';

    create table papers (
        arxiv_id text not null,
        version smallint not null check (version >= 0),
        timestamp bigint not null,
        first_timestamp bigint not null default extract(epoch from clock_timestamp())::bigint,
        title text not null,
        authors text[] not null,
        affiliations jsonb,
        abstract text,
        journal text,
        comment text,
        published bigint,
        updated bigint,
        dois text[] not null default '{}',
        primary_category text,
        categories text[] not null default '{}',
        links jsonb,
        withdrawn boolean not null default false,
        words tsvector not null generated always as (
            paper_words(
                title, listed(authors), abstract, coalesce(comment, '') || ' ' || coalesce(journal, '')
            )
        ) stored,
        primary key (arxiv_id, version)
    );
    -- so that the planner knows the rare categories too
    alter table papers alter column categories set statistics 1000;
    comment on column papers.arxiv_id is 'without the version: 2101.00001, hep-th/9901001';
    comment on column papers.version is '0 where it was not told';
    comment on column papers.timestamp is 'Unix seconds: that of the search which told all this';
    comment on column papers.first_timestamp is
        'Unix seconds: that of the search which told of it first';
    comment on column papers.affiliations is 'a list for each author; null where there are none';
    comment on column papers.abstract is 'null where only author, title and journal are known';
    comment on column papers.published is 'Unix seconds: when version 1 was submitted';
    comment on column papers.updated is 'Unix seconds: when this version was submitted';
    comment on column papers.dois is 'the journal''s, not arXiv''s own';
    comment on column papers.withdrawn is 'as far as the comment tells';

    -- of the papers found so far, what results has kept
    insert into papers (arxiv_id, version, timestamp, first_timestamp, title, authors, journal)
    select distinct on (arxiv_id, coalesce(version, 0))
        arxiv_id, coalesce(version, 0), timestamp,
        min(timestamp) over (partition by arxiv_id, coalesce(version, 0)), title,
        case when author = '' then '{}' else string_to_array(author, ', ') end, journal
    from results
    where arxiv_id is not null
    order by arxiv_id, coalesce(version, 0), timestamp desc;

    -- full text
    create index papers_words on papers using gin (words);
    -- the category's facet and filter
    create index papers_categories on papers using gin (categories);
    -- newest and oldest first; from a year to a year
    create index papers_published on papers (coalesce(published, 0), arxiv_id, version);
    grant select, insert, update on papers to arxiv_rw;
    grant select on papers to arxiv_ro;
    insert into migrations (name) values ('0009_papers');
    \echo applied 0009_papers
\endif
commit;
