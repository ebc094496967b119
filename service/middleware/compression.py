"""Content codings: negotiation (RFC 9110, 12.5.3) and compression with zstd and gzip."""

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
"""The fastest levels, so that compression does not slow exports down (see docs/decisions.md)."""

_ITEM = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)
_ALIASES = {"x-gzip": "gzip"}  # RFC 9110, 8.4.1.3
_DEFAULT_IDENTITY_WEIGHT = 0.0001
"""Lower than any weight a client can state: `identity` is acceptable, but other codings win."""


class Compressor(Protocol):
    """Compresses one response in chunks."""

    def compress(self, data: bytes) -> bytes:
        """Compress a chunk. The client can decompress all of it at once."""

    def finish(self) -> bytes:
        """Return the end of the compressed data, by which clients detect truncation."""


class Encoding(NamedTuple):
    """A content coding."""

    name: str
    compress: Callable[[bytes], bytes]
    create_compressor: Callable[[], Compressor]
    etag_suffix: bytes


class EncodingChoice(NamedTuple):
    """The coding of a response; None means that it is not compressed."""

    encoding: Encoding | None
    is_required: bool = False
    """The client rejects uncompressed responses, so small ones are compressed too."""


class _GzipCompressor:
    def __init__(self) -> None:
        self._compressor = zlib.compressobj(GZIP_LEVEL, wbits=31)

    def compress(self, data: bytes) -> bytes:
        return self._compressor.compress(data) + self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._compressor.flush()


class _ZstdCompressor:
    def __init__(self) -> None:
        self._compressor = zstd.ZstdCompressor(ZSTD_LEVEL)

    def compress(self, data: bytes) -> bytes:
        return self._compressor.compress(data, zstd.ZstdCompressor.FLUSH_BLOCK)

    def finish(self) -> bytes:
        return self._compressor.flush()


def _create_etag_suffix(name: str, *version: object) -> bytes:
    """Identify library and level: another release can produce other bytes for the same content."""
    return f"-{name}-{blake2b(repr(version).encode(), digest_size=2).hexdigest()}".encode()


ENCODINGS = (
    Encoding(
        "zstd",
        lambda data: zstd.compress(data, ZSTD_LEVEL),
        _ZstdCompressor,
        _create_etag_suffix("zstd", zstd.zstd_version, ZSTD_LEVEL),
    ),
    Encoding(
        "gzip",
        # unlike the module gzip, zlib writes no modification time: the bytes stay the same
        lambda data: zlib.compress(data, GZIP_LEVEL, wbits=31),
        _GzipCompressor,
        _create_etag_suffix("gzip", zlib.ZLIB_RUNTIME_VERSION, GZIP_LEVEL),
    ),
)
"""In order of preference, for clients without one."""


@lru_cache(maxsize=64)
def choose_encoding(accept_encoding: str) -> EncodingChoice:
    """Choose the coding by an Accept-Encoding header; malformed items are ignored.

    If the client rejects every coding, the response is not compressed: an error would need a
    coding too.
    """
    weights = _parse_weights(accept_encoding)
    other_weight = weights.get("*", 0.0)
    identity_weight = weights.get("identity", weights.get("*", _DEFAULT_IDENTITY_WEIGHT))
    best = max(ENCODINGS, key=lambda encoding: weights.get(encoding.name, other_weight))
    weight = weights.get(best.name, other_weight)
    if weight == 0 or weight < identity_weight:
        return EncodingChoice(None)
    return EncodingChoice(best, is_required=identity_weight == 0)


def _parse_weights(accept_encoding: str) -> dict[str, float]:
    weights = {}
    for item in accept_encoding.split(","):
        if match := _ITEM.fullmatch(item.strip(" \t")):
            name, weight = match.groups()
            weights[_ALIASES.get(name.lower(), name.lower())] = float(weight or 1)
    return weights
