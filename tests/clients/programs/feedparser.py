"""Searches with feedparser: the feed of each search."""

import json
import sys
from typing import Any
from urllib.parse import urlencode

import feedparser


def search(**parameters: str) -> dict[str, Any]:
    feed = feedparser.parse(f"{server}?{urlencode(parameters)}")
    for name in ("updated", "updated_parsed"):  # the time of the response
        del feed.feed[name]
    for entry in feed.entries:
        if entry.title == "Error":
            del entry["updated"], entry["updated_parsed"]
    return {
        "papers": feed.entries,
        "feed": feed.feed,
        "status": feed.status,
        "format": (feed.bozo, feed.version, feed.encoding, feed.namespaces),
    }


# the documented call has created `feed`
server = globals()["feed"].href.partition("?")[0]
outcomes = {name: search(**options) for name, options in json.loads(sys.argv[1]).items()}
print(json.dumps(outcomes))
