-- The progress of an import.
select
    digest, file_name, lines, position, rejected, newest_datestamp, started, finished,
    tail_digest, is_whole
from mirror_imports
where digest = %(digest)s
