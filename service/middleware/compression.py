"""Content codings: which one a client wants (RFC 9110, 12.5.3), and how it is made."""

import re
import sys
import zlib
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple, Protocol

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP_LEVEL, ZSTD_LEVEL = 1, 1
"""The fastest of both: an export is not to wait for its compression (see docs/decisions.md)."""

_ITEM = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
_OLD_NAMES = {"x-gzip": "gzip"}  # RFC 9110, 8.4.1.3
_UNSAID = 0.0001
"""Less than any weight that can be said: what identity has where a client does not name it."""


class Stream(Protocol):
    """The coding of one answer that is sent in pieces."""

    def piece(self, data: bytes) -> bytes:
        """Code a piece so that the client can decode all of it at once."""

    def end(self) -> bytes:
        """What tells the client that the answer is whole."""


class Coding(NamedTuple):
    """A content coding: of one piece, or of many; `mark` tells apart the tags of its bytes."""

    name: str
    whole: Callable[[bytes], bytes]
    stream: Callable[[], Stream]
    mark: bytes


class Choice(NamedTuple):
    """The coding of an answer; None leaves it as it is."""

    coding: Coding | None
    however_small: bool = False
    """The client refuses what is not coded, so small answers are coded too."""


class _Gzip:
    def __init__(self) -> None:
        self._encoder = zlib.compressobj(GZIP_LEVEL, wbits=31)

    def piece(self, data: bytes) -> bytes:
        return self._encoder.compress(data) + self._encoder.flush(zlib.Z_SYNC_FLUSH)

    def end(self) -> bytes:
        return self._encoder.flush()


class _Zstd:
    def __init__(self) -> None:
        self._encoder = zstd.ZstdCompressor(ZSTD_LEVEL)

    def piece(self, data: bytes) -> bytes:
        return self._encoder.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK)

    def end(self) -> bytes:
        return self._encoder.flush()


def _mark(name: str, *maker: object) -> bytes:
    """Another release of the library may make other bytes, which then need another strong tag."""
    return f"-{name}-{blake2b(repr(maker).encode(), digest_size=2).hexdigest()}".encode()


CODINGS = (
    Coding(
        "zstd",
        lambda data: zstd.compress(data, ZSTD_LEVEL),
        _Zstd,
        _mark("zstd", zstd.zstd_version, ZSTD_LEVEL),
    ),
    Coding(
        "gzip",
        # unlike the module gzip it puts no time of day into the bytes
        lambda data: zlib.compress(data, GZIP_LEVEL, wbits=31),
        _Gzip,
        _mark("gzip", zlib.ZLIB_RUNTIME_VERSION, GZIP_LEVEL),
    ),
)
"""The better one first: it is taken where a client has no preference."""


@lru_cache(maxsize=64)
def chosen(accepted: str | None) -> Choice:
    """What an Accept-Encoding asks for; what is none of its grammar is passed over.

    A client that refuses everything gets the answer uncoded: an error would need a coding too.
    """
    weights = _weights(accepted or "")
    others = weights.get("*", 0.0)
    uncoded = weights.get("identity", weights.get("*", _UNSAID))
    best = max(CODINGS, key=lambda coding: weights.get(coding.name, others))
    weight = weights.get(best.name, others)
    if weight == 0 or weight < uncoded:
        return Choice(None)
    return Choice(best, however_small=uncoded == 0)


def _weights(accepted: str) -> dict[str, float]:
    weights = {}
    for item in accepted.split(","):
        if found := _ITEM.fullmatch(item.strip(" \t")):
            name, weight = found.groups()
            known = _OLD_NAMES.get(name.lower(), name.lower())
            weights[known] = float(weight or 1)
    return weights
