-- Inserts papers of the mirror that are not stored.
copy papers (
    arxiv_id, version, timestamp, title, authors, affiliations, abstract, journal, comment, published,
    updated, dois, primary_category, categories, withdrawn, group_authors, source, other_sources
) from stdin (format binary)
