-- Stores the progress of an import.
insert into mirror_imports (
    digest, file_name, lines, position, rejected, newest_datestamp, started, finished,
    tail_digest, is_whole
)
values (
    %(digest)s, %(file_name)s, %(lines)s, %(position)s, %(rejected)s, %(newest_datestamp)s,
    %(started)s, %(finished)s, %(tail_digest)s, %(is_whole)s
)
on conflict (digest) do update set
    file_name = excluded.file_name,
    lines = excluded.lines,
    position = excluded.position,
    rejected = excluded.rejected,
    newest_datestamp = excluded.newest_datestamp,
    started = excluded.started,
    finished = excluded.finished,
    tail_digest = excluded.tail_digest,
    is_whole = excluded.is_whole
