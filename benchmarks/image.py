"""The size of the container image, if podman has one. No image is built."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Bench, NotAvailable, Row

HISTORY = ["podman", "image", "history", "--format=json", "localhost/arxiv-gateway"]
TEST_STORAGE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arxiv-gateway"
"""Where the tests store the image that they build."""
IN_TEST_STORAGE = (
    'mount -t tmpfs tmpfs /run && mount --bind "$1" /var/lib/containers && shift && exec "$@"'
)
"""Runs a command with the storage of the tests, as tests/deploy/containers/sandbox does."""


def measure_size(_: Bench) -> Iterator[Row]:
    """Measure the size in megabytes, by layers."""
    if shutil.which("podman") is None:
        raise NotAvailable("podman is not installed")
    storage = str(TEST_STORAGE / "containers")
    with_test_storage = ["unshare", "--mount", "sh", "-c", IN_TEST_STORAGE, "sh", storage, *HISTORY]
    for command in (HISTORY, with_test_storage):
        process = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own arguments
        if process.returncode == 0:
            layers = {
                layer["CreatedBy"]: layer["size"] / 1e6 for layer in json.loads(process.stdout)
            }
            break
    else:
        raise NotAvailable("the image is not built, run `podman-compose build`")
    whole, dependencies, service = (
        sum(size for created_by, size in layers.items() if created_by.rstrip().endswith(end))
        for end in ("", " in /opt/venv", " in /app")
    )
    yield Row(
        measure="container image, MB",
        against="python:3.x-slim + dependencies",
        seen=[whole],
        detail=f"Debian with Python {whole - dependencies - service:.0f},"
        f" dependencies {dependencies:.0f}, the service {service:.1f}",
    )
