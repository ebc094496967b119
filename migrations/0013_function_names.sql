-- Functions are named after what they do, and readers share one bound for the read delay.
\set ON_ERROR_STOP on
set client_min_messages = warning;
begin;
select pg_advisory_xact_lock(hashtext('arxiv-gateway migrations'));
select not exists (select from migrations where name = '0013_function_names') as pending \gset
\if :pending
    -- Renamed and not replaced: columns, indexes and other functions refer to them.
    alter function fold(text) rename to unaccent_text;
    alter function bare(text) rename to normalize_text;
    alter function holds(text, text) rename to contains_normalized;
    alter function listed(text[]) rename to join_names;
    comment on function unaccent_text is
        'the text without accents, with symbols replaced by spaces: the input of full-text search';
    comment on function normalize_text is
        'the letters and digits of a text in lower case, without accents and spaces';
    comment on function contains_normalized is
        'whether a text contains another, ignoring case, accents, spaces and punctuation';
    comment on function join_names is 'author names as in results.author';

    -- Instances of the previous version use the old names until they are replaced. The planner
    -- inlines these functions.
    create function fold(original text) returns text
        language sql immutable strict parallel safe
        return unaccent_text(original);
    create function bare(original text) returns text
        language sql immutable strict parallel safe
        return normalize_text(original);
    create function holds(original text, part text) returns boolean
        language sql immutable parallel safe
        return contains_normalized(original, part);
    create function listed(names text[]) returns text
        language sql immutable strict parallel safe
        return join_names(names);
    comment on function fold is 'former name of unaccent_text';
    comment on function bare is 'former name of normalize_text';
    comment on function holds is 'former name of contains_normalized';
    comment on function listed is 'former name of join_names';

    -- Not strict and not immutable, so that the planner inlines it and estimates its value.
    create function visible_until(read_delay double precision) returns bigint
        language sql stable parallel safe
        return coalesce(
            floor(extract(epoch from now()) - nullif(read_delay, 0))::bigint, 9223372036854775807
        );
    comment on function visible_until is
        'Unix seconds: readers leave out later rows; everything is visible without a read delay';
    insert into migrations (name) values ('0013_function_names');
    \echo applied 0013_function_names
\endif
commit;
