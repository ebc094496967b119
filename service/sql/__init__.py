"""Every SQL statement the service sends, one per file, read once at import."""

from importlib.resources import files

_here = files(__name__)

BEGIN = b"begin"
COMMIT = b"commit"
INSERT_QUERY = _here.joinpath("insert_query.sql").read_bytes()
INSERT_RESULTS = _here.joinpath("insert_results.sql").read_bytes()
NEXT_QUERY_ID = _here.joinpath("next_query_id.sql").read_bytes()
SAME_QUERY = _here.joinpath("same_query.sql").read_bytes()
SAME_RESULTS = _here.joinpath("same_results.sql").read_bytes()
SELECT_MIGRATIONS = _here.joinpath("select_migrations.sql").read_bytes()
SELECT_QUERIES = _here.joinpath("select_queries.sql").read_bytes()
SELECT_RESULTS = _here.joinpath("select_results.sql").read_bytes()
SELECT_WRITE = _here.joinpath("select_write.sql").read_bytes()
WRITE_QUERY = _here.joinpath("write_query.sql").read_bytes()
WRITE_RESULTS = _here.joinpath("write_results.sql").read_bytes()
