-- Filters and full-text search ignore TeX accents and invisible characters, and equate ß with ss.
-- Like 0010_reading this runs outside of a transaction: the index is rebuilt concurrently, and papers are
-- updated in batches. It can be interrupted and applied again. Instances of the previous version go on
-- working; their highlights lack marks where a text contains TeX or invisible characters.
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
select not exists (select from migrations where name = '0015_tex_and_invisible_characters') as pending \gset
\if :pending
    begin;
    -- The pattern is that of service/metadata/tex.py. The planner inlines functions only if they are not
    -- strict, and an SQL function that is not inlined takes twenty times as long.
    create or replace function strip_tex(original text) returns text
        language sql immutable parallel safe
        return case
            when position('\' in original) > 0 then regexp_replace(
                original,
                -- accents
                '\{?(?:\\{1,2}(?:''''|"(?! )|[''`^~=.]|[Hckbdurvt](?![A-Za-z]))[ {]{0,3}){1,3}'
                '(?:\\([ij])(?![A-Za-z]) ?|([A-Za-z]))\}{0,3}'
                -- letters
                '|\{?\\(?:(ss|ae|AE|oe|OE|th|TH|[oOlLij])'
                '|(?=aa|AA|dh|DH|dj|DJ|ng|NG)([aAdDnN])[aAhHjJgG])(?![A-Za-z])(?: ?\{?\}| )?'
                -- fonts
                '|\\(?:emph|mbox|underline|text(?:bf|it|rm|sc|sf|sl|tt|up|normal|superscript|subscript)?) ?\{'
                '|\{?\\(?:em|it|bf|sl|sc|rm|tt|sf|normalfont|itshape|bfseries|scshape)(?![A-Za-z]) ?'
                -- escaped characters
                '|\\([&%$#_,; ])'
                -- other commands with an argument, whose brace does not belong to an accent
                '|(\\(?!(?:emph|mbox|underline|text(?:bf|it|rm|sc|sf|sl|tt|up|normal|superscript|subscript)?'
                '|em|it|bf|sl|sc|rm|tt|sf|normalfont|itshape|bfseries|scshape'
                '|ss|ae|AE|oe|OE|th|TH|aa|AA|dh|DH|dj|DJ|ng|NG)(?![A-Za-z]))[A-Za-z]{2,} ?\{)',
                '\1\2\3\4\5\6', 'g'
            )
            else original
        end;
    comment on function strip_tex is 'the text without TeX accents, fonts and escapes; \"a becomes a';
    create or replace function unaccent_text(original text) returns text
        language sql immutable parallel safe
        return translate(
            case
                when octet_length(original) = length(original) then strip_tex(original)
                else replace(replace(replace(replace(replace(replace(replace(replace(
                    regexp_replace(
                        translate(
                            normalize(
                                regexp_replace(
                                    normalize(strip_tex(original), nfkd),
                                    -- accents and invisible characters
                                    '[\u0300-\u036f\u00ad\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e'
                                    '\u2060-\u206f\ufe00-\ufe0f\ufeff]+',
                                    '', 'g'
                                ),
                                nfc
                            ),
                            'øØłŁđĐħĦıȷðÐŋŊ', 'oOlLdDhHijdDnN'
                        ),
                        '[\u0080-\u00bf\u00d7\u00f7\u02b9-\u02ff\u1680\u2000-\u2bff\u2e00-\u2e7f'
                        '\u3000-\u3020\u3030\ue000-\uf8ff\ufe00-\ufe6f\ufeff\ufff9-\uffff'
                        '\U0001f000-\U0001faff]',
                        ' ', 'g'
                    ),
                    'ß', 'ss'), 'ẞ', 'SS'), 'æ', 'ae'), 'Æ', 'AE'), 'œ', 'oe'), 'Œ', 'OE'), 'þ', 'th'), 'Þ', 'TH')
            end,
            '<>&/-+~.', '        '
        );
    alter function normalize_text(text) called on null input;
    alter function fold(text) called on null input;
    alter function bare(text) called on null input;
    create or replace function contains_normalized(original text, part text) returns boolean
        language sql immutable parallel safe
        return (
            octet_length(original) <> length(original)
            or position('\' in original) > 0
            or lower(original)
                like '%' || regexp_replace(lower(unaccent_text(part)), '[^[:alnum:]]+', '%', 'g') || '%'
        )
        and position(normalize_text(part) in normalize_text(original)) > 0;
    commit;

    -- PostgreSQL does not compute papers.words again when a function changes.
    do $$
    declare
        from_id text := '';
        from_version smallint := 0;
        last record;
    begin
        loop
            with batch as materialized (
                select arxiv_id, version from papers
                where (arxiv_id, version) >= (from_id, from_version)
                order by arxiv_id, version
                limit 1001
            ),
            changed as (
                update papers set title = papers.title
                from batch
                where papers.arxiv_id = batch.arxiv_id and papers.version = batch.version
                    and concat_ws(' ', title, join_names(authors), abstract, comment, journal)
                        ~ '[\\ßẞæÆœŒþÞðÐŋŊȷ\u00ad\u061c\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]'
            )
            select arxiv_id, version into last from batch
            order by arxiv_id, version
            offset 1000;
            commit;
            exit when last is null;
            from_id := last.arxiv_id;
            from_version := last.version;
        end loop;
    end $$;

    -- what an interrupted attempt has left
    select format('drop index concurrently %I', relname)
    from pg_index join pg_class on pg_class.oid = indexrelid
    where not indisvalid and relname like 'results\_words\_cc%'
    \gexec
    reindex index concurrently results_words;
    insert into migrations (name) values ('0015_tex_and_invisible_characters');
    \echo applied 0015_tex_and_invisible_characters
\endif
select pg_advisory_unlock(hashtext('arxiv-gateway indexes')) as unlocked \gset
