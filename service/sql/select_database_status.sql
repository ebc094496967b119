-- The version of PostgreSQL, whether it is a replica, the latest migration, and the size of the database.
select
    current_setting('server_version'), pg_is_in_recovery(), (select max(name) from migrations),
    pg_database_size(current_database())
