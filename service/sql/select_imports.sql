-- The progress of the latest imports.
select digest, file_name, lines, position, rejected, newest_datestamp, started, finished
from mirror_imports
order by started desc, digest
limit %(limit)s::bigint
