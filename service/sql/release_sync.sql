-- Releases the lease of the sync.
update mirror_syncs set held_until = '-infinity' where set_spec = '' and holder = %(holder)s
