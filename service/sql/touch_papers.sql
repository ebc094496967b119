-- Marks papers as changed for the search index, which contains a part of their details.
update papers set changed = null where arxiv_id = any(%(arxiv_ids)s::text[])
