"""Every SQL statement of the service, one per file, loaded at import."""

from importlib.resources import files

_FOLDER = files(__name__)
_ASCENDING = {"order": "asc", "comparison": ">", "is_ascending": "true"}
_DESCENDING = {"order": "desc", "comparison": "<", "is_ascending": "false"}


def _load(name: str) -> bytes:
    return _FOLDER.joinpath(f"{name}.sql").read_bytes()


def _load_list(name: str) -> tuple[bytes, bytes]:
    """The statements for ascending and descending order, made from one file with placeholders."""
    template = _load(name).decode()
    return template.format(**_ASCENDING).encode(), template.format(**_DESCENDING).encode()


BEGIN = b"begin"
COMMIT = b"commit"
CONFIGURE_SESSION = _load("configure_session")
COUNT_PAPERS = _load("count_papers")
COUNT_RESULTS_BY_RUN = _load("count_results_by_run")
FIND_KEYS = _load("find_keys")
GATE_LEAVE = _load("gate_leave")
GATE_LOCK = _load("gate_lock")
GATE_PURGE = _load("gate_purge")
GATE_RELEASE = _load("gate_release")
GATE_STATE = _load("gate_state")
GATE_TAKE = _load("gate_take")
GATE_WAIT = _load("gate_wait")
HARVEST_ADVANCE = _load("harvest_advance")
HARVEST_BEGIN = _load("harvest_begin")
HARVEST_LATEST = _load("harvest_latest")
HARVEST_PAGES = _load("harvest_pages")
INSERT_KEY = _load("insert_key")
INSERT_MANY = _load("insert_many")
INSERT_QUERIES = _load("insert_queries")
INSERT_QUERY = _load("insert_query")
INSERT_RESULTS = _load("insert_results")
INSERT_RESULTS_OF_MANY = _load("insert_results_of_many")
NEXT_FREE_NUMBER = _load("next_free_number")
NEXT_QUERY_ID = _load("next_query_id")
RANK_PAPERS = _load("rank_papers")
REVOKE_KEY = _load("revoke_key")
SAME_QUERY = _load("same_query")
SAME_RESULTS = _load("same_results")
SELECT_ARXIV_IDS = _load("select_arxiv_ids")
SELECT_ENTRY_COUNTS = _load("select_entry_counts")
SELECT_FEED_PAPERS = _load("select_feed_papers")
SELECT_INTERRUPTED_RUNS = _load("select_interrupted_runs")
SELECT_KEYS = _load("select_keys")
SELECT_MIGRATIONS = _load("select_migrations")
SELECT_NUMBER = _load("select_number")
SELECT_PAPERS, SELECT_PAPERS_DESC = _load_list("select_papers")
SELECT_PAPERS_BY_ID = _load("select_papers_by_id")
SELECT_QUERIES, SELECT_QUERIES_DESC = _load_list("select_queries")
SELECT_QUERY = _load("select_query")
SELECT_QUERY_RESULTS = _load("select_query_results")
SELECT_RECORDED = _load("select_recorded")
SELECT_RECORDED_OF_MANY = _load("select_recorded_of_many")
SELECT_RESULTS, SELECT_RESULTS_DESC = _load_list("select_results")
SELECT_RUN_IDS = _load("select_run_ids")
SELECT_RUNS = _load("select_runs")
SELECT_VERSIONS = _load("select_versions")
SELECT_WRITE = _load("select_write")
UPSERT_PAPERS = _load("upsert_papers")
WRITE_QUERY = _load("write_query")
WRITE_RESULTS = _load("write_results")
