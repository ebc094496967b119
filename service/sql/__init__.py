"""Every SQL statement the service sends, one per file, read once at import."""

from importlib.resources import files

_here = files(__name__)

BEGIN = b"begin"
COMMIT = b"commit"
GATE_LEAVE = _here.joinpath("gate_leave.sql").read_bytes()
GATE_LOCK = _here.joinpath("gate_lock.sql").read_bytes()
GATE_PURGE = _here.joinpath("gate_purge.sql").read_bytes()
GATE_RELEASE = _here.joinpath("gate_release.sql").read_bytes()
GATE_TAKE = _here.joinpath("gate_take.sql").read_bytes()
GATE_WAIT = _here.joinpath("gate_wait.sql").read_bytes()
HARVEST_ADVANCE = _here.joinpath("harvest_advance.sql").read_bytes()
HARVEST_BEGIN = _here.joinpath("harvest_begin.sql").read_bytes()
HARVEST_LATEST = _here.joinpath("harvest_latest.sql").read_bytes()
HARVEST_PAPERS = _here.joinpath("harvest_papers.sql").read_bytes()
INSERT_QUERY = _here.joinpath("insert_query.sql").read_bytes()
INSERT_RESULTS = _here.joinpath("insert_results.sql").read_bytes()
NEXT_QUERY_ID = _here.joinpath("next_query_id.sql").read_bytes()
SAME_QUERY = _here.joinpath("same_query.sql").read_bytes()
SAME_RESULTS = _here.joinpath("same_results.sql").read_bytes()
SELECT_MIGRATIONS = _here.joinpath("select_migrations.sql").read_bytes()
SELECT_QUERIES = _here.joinpath("select_queries.sql").read_bytes()
SELECT_QUERY_RESULTS = _here.joinpath("select_query_results.sql").read_bytes()
SELECT_RECORDED = _here.joinpath("select_recorded.sql").read_bytes()
SELECT_RESULTS = _here.joinpath("select_results.sql").read_bytes()
SELECT_WRITE = _here.joinpath("select_write.sql").read_bytes()
WRITE_QUERY = _here.joinpath("write_query.sql").read_bytes()
WRITE_RESULTS = _here.joinpath("write_results.sql").read_bytes()
