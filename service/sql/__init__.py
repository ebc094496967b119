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
BEGIN_SNAPSHOT = b"begin isolation level repeatable read read only"
COMMIT = b"commit"
ACQUIRE_SYNC = _load("acquire_sync")
CONFIGURE_SESSION = _load("configure_session")
COPY_DETAILS = _load("copy_details")
COPY_PAPERS = _load("copy_papers")
COUNT_RESULTS_BY_RUN = _load("count_results_by_run")
ESTIMATE_PAPERS = _load("estimate_papers")
FIND_KEYS = _load("find_keys")
GATE_ACQUIRE = _load("gate_acquire")
GATE_CANCEL = _load("gate_cancel")
GATE_ENQUEUE = _load("gate_enqueue")
GATE_EXPIRE = _load("gate_expire")
GATE_LOCK = _load("gate_lock")
GATE_RELEASE = _load("gate_release")
GATE_STATUS = _load("gate_status")
INSERT_BATCH = _load("insert_batch")
INSERT_HARVEST = _load("insert_harvest")
INSERT_KEY = _load("insert_key")
INSERT_QUERIES_BATCH = _load("insert_queries_batch")
INSERT_QUERY = _load("insert_query")
INSERT_RESULTS = _load("insert_results")
INSERT_RESULTS_BATCH = _load("insert_results_batch")
LOCK_IMPORT = _load("lock_import")
MATCH_QUERY = _load("match_query")
MATCH_RESULTS = _load("match_results")
NEXT_FREE_QUERY_ID = _load("next_free_query_id")
NEXT_QUERY_ID = _load("next_query_id")
RELEASE_SYNC = _load("release_sync")
REVOKE_KEY = _load("revoke_key")
SELECT_ARXIV_IDS = _load("select_arxiv_ids")
SELECT_BATCH_STATE = _load("select_batch_state")
SELECT_ENTRIES = _load("select_entries")
SELECT_ENTRY_COUNTS = _load("select_entry_counts")
SELECT_FEED_PAPERS = _load("select_feed_papers")
SELECT_HARVEST_GAPS = _load("select_harvest_gaps")
SELECT_HARVEST_QUERY_IDS = _load("select_harvest_query_ids")
SELECT_IMPORT = _load("select_import")
SELECT_INDEXED_PAPERS = _load("select_indexed_papers")
SELECT_INDEX_SOURCE = _load("select_index_source")
SELECT_INTERRUPTED_RUNS = _load("select_interrupted_runs")
SELECT_KEYS = _load("select_keys")
SELECT_LATEST_HARVEST = _load("select_latest_harvest")
SELECT_LATEST_RECORD = _load("select_latest_record")
SELECT_MIGRATIONS = _load("select_migrations")
SELECT_NEWEST_IMPORT = _load("select_newest_import")
SELECT_PAPERS, SELECT_PAPERS_DESC = _load_list("select_papers")
SELECT_PAPERS_BY_ID = _load("select_papers_by_id")
SELECT_PAPER_BATCH = _load("select_paper_batch")
SELECT_PAPER_CHANGES = _load("select_paper_changes")
SELECT_PAPER_KEYS = _load("select_paper_keys")
SELECT_QUERIES, SELECT_QUERIES_DESC = _load_list("select_queries")
SELECT_QUERY = _load("select_query")
SELECT_QUERY_BY_ID_OR_WRITE_KEY = _load("select_query_by_id_or_write_key")
SELECT_QUERY_BY_WRITE_KEY = _load("select_query_by_write_key")
SELECT_QUERY_RESULTS = _load("select_query_results")
SELECT_RESULTS, SELECT_RESULTS_DESC = _load_list("select_results")
SELECT_RUNS = _load("select_runs")
SELECT_RUN_IDS = _load("select_run_ids")
SELECT_STORED_DETAILS = _load("select_stored_details")
SELECT_STORED_IDS = _load("select_stored_ids")
SELECT_STORED_PAPERS = _load("select_stored_papers")
SELECT_SYNC = _load("select_sync")
SELECT_SYNCS = _load("select_syncs")
SELECT_VERSIONS = _load("select_versions")
UPDATE_HARVEST = _load("update_harvest")
UPSERT_DETAILS = _load("upsert_details")
UPSERT_IMPORT = _load("upsert_import")
UPSERT_PAPERS = _load("upsert_papers")
UPSERT_SYNC = _load("upsert_sync")
WRITE_QUERY = _load("write_query")
WRITE_RESULTS = _load("write_results")
