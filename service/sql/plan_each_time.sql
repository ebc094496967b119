-- What is prepared is planned for its values each time: a filter that is not asked for costs nothing,
-- and where to begin depends on the place.
set plan_cache_mode = force_custom_plan
