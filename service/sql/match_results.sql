-- One row if exactly these results are recorded under their query_id.
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
    ) as stored on stored.result_number = sent.result_number
    where (stored.timestamp, stored.author, stored.title, stored.journal, stored.arxiv_id, stored.version)
        is distinct from (
            %(timestamp)s::bigint, sent.author, sent.title, sent.journal, sent.arxiv_id, sent.version
        )
)
