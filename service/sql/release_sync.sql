-- Gives the right to sync back.
update mirror_syncs set held_until = '-infinity' where set_spec = '' and holder = %(holder)s
