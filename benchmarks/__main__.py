"""`make bench`: measure, print a table, keep it in benchmarks/latest.md."""

import os
import platform
import sys
import tempfile
from pathlib import Path

from msgspec import structs

from benchmarks import buffering, reading, routing, searching
from benchmarks.measuring import ROUNDS, load_name, served
from demo.arxiv import StandIn
from demo.papers import generate
from service import embedded, migrations
from service.settings import Settings


def main() -> None:
    """Measure everything and print it."""
    with tempfile.TemporaryDirectory() as folder, embedded.server(Path(folder) / "data") as url:
        migrations.apply(url)
        with served(StandIn(generate(2000))) as arxiv:
            settings = Settings(
                database_url=f"{url} user=arxiv_rw",
                database_ro_url=f"{url} user=arxiv_ro",
                api_url=f"{arxiv}/api/query",
                interval=0,
            )
            rows = [
                searching.memory_hits(settings),
                searching.cost_of_a_miss(settings),
                *buffering.rates(settings),
            ]
            reading.seed(url)
            rows += [
                *reading.depth(settings),
                reading.page(settings),
                *reading.export(settings, url),
                *routing.readers(settings, Path(folder)),
            ]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    lines = [
        f"{python}, {os.cpu_count()} cores, load from {load_name()}; median of {ROUNDS} rounds",
        "",
        "| measure | against | ratio | spread | |",
        "|---|---|---|---|---|",
        *(" | ".join(["", *map(str, structs.astuple(row)), ""]).strip() for row in rows),
        "",
    ]
    text = "\n".join(lines)
    Path(__file__).with_name("latest.md").write_text(text)
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
