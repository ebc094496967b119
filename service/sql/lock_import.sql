-- The progress of an import in bytes; locked, so that one process at a time continues it.
select position from mirror_imports where digest = %(digest)s for update
