"""How large the container image is, where podman has one; nothing is built for that."""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measuring import Bench, NotHere, Row

HISTORY = ["podman", "image", "history", "--format=json", "localhost/arxiv-gateway"]
TESTED = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "arxiv-gateway"
"""Where the tests keep the image that they build."""


def size(_: Bench) -> Iterator[Row]:
    """Megabytes, by layers."""
    if shutil.which("podman") is None:
        raise NotHere("podman is not installed")
    # as tests/containers/sandbox does it: podman looks where it always does
    among_tests = f"mount --bind {shlex.quote(str(TESTED / 'containers'))} /var/lib/containers"
    within = f"mount -t tmpfs tmpfs /run && {among_tests} && {shlex.join(HISTORY)}"
    for command in (HISTORY, ["unshare", "--mount", "sh", "-c", within]):
        ran = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - ours
        if ran.returncode == 0:
            layers = {layer["CreatedBy"]: layer["size"] / 1e6 for layer in json.loads(ran.stdout)}
            break
    else:
        raise NotHere("not built here (`podman-compose build`)")
    whole, dependencies, service = (
        sum(layers[what] for what in layers if what.rstrip().endswith(end))
        for end in ("", " in /opt/venv", " in /app")
    )
    yield Row(
        measure="container image, MB",
        against="python:3.x-slim + dependencies",
        seen=[whole],
        detail=f"Debian with Python {whole - dependencies - service:.0f},"
        f" dependencies {dependencies:.0f}, the service {service:.1f}",
    )
