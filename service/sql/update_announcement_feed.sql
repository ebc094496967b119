-- Records that a feed was read; a stale one may be read again after some seconds.
update announcement_feeds set
    fetched = %(fetched)s,
    items = %(items)s,
    is_stale = %(is_stale)s,
    not_before = clock_timestamp() + make_interval(secs => %(pause)s::float8)
where date = %(date)s::date and feed = %(feed)s
