-- One row if just these papers are recorded under the number of their search.
select
where not exists (
    select
    from (
        select ordinality - 1 as result_number, author, title, journal, arxiv_id, version
        from rows from (
            json_to_recordset(%(results)s::json)
                as (author text, title text, journal text, arxiv_id text, version smallint)
        ) with ordinality
    ) as sent
    full join (
        select result_number, timestamp, author, title, journal, arxiv_id, version
        from results
        where query_id = %(query_id)s
    ) as kept on kept.result_number = sent.result_number
    where (kept.timestamp, kept.author, kept.title, kept.journal, kept.arxiv_id, kept.version)
        is distinct from (
            %(timestamp)s::bigint, sent.author, sent.title, sent.journal, sent.arxiv_id, sent.version
        )
)
