"""Content codings: negotiation (RFC 9110, 12.5.3) and compression with zstd and gzip."""

import re
import sys
import zlib
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP_LEVEL, ZSTD_LEVEL = 1, 1
"""The fastest levels, so that compression does not slow exports down (see docs/decisions.md)."""
MAX_HEADER_LENGTH = 1000
"""Characters of an Accept-Encoding header that are considered; browsers send at most 30."""

_ITEM = re.compile(
    r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*;[ \t]*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
)

ZSTD_STREAM_OPTIONS = {
    zstd.CompressionParameter.compression_level.value: ZSTD_LEVEL,
    zstd.CompressionParameter.window_log.value: 17,
}
"""A stream may last long, and has a window of 128 KiB instead of 512 KiB in memory."""


class Encoding(NamedTuple):
    """A content coding."""

    name: str
    compress: Callable[[bytes], bytes]
    create_compressor: Callable[[], Any]
    compress_chunk: Callable[[Any, bytes], bytes]
    """Compress a chunk with a compressor so that the client can decompress all of it at once. The
    `flush` of the compressor returns the end, by which clients detect truncation."""
    etag_suffix: bytes


def _create_etag_suffix(name: str, *version: object) -> bytes:
    """Identify library and level: another release can produce other bytes for the same content."""
    return f"-{name}-{blake2b(repr(version).encode(), digest_size=2).hexdigest()}".encode()


ENCODINGS = (
    Encoding(
        "zstd",
        lambda data: zstd.compress(data, ZSTD_LEVEL),
        lambda: zstd.ZstdCompressor(options=ZSTD_STREAM_OPTIONS),
        lambda compressor, data: compressor.compress(data, compressor.FLUSH_BLOCK),
        _create_etag_suffix("zstd", zstd.zstd_version, ZSTD_LEVEL),
    ),
    Encoding(
        "gzip",
        # unlike the module gzip, zlib writes no modification time: the bytes stay the same
        lambda data: zlib.compress(data, GZIP_LEVEL, wbits=31),
        lambda: zlib.compressobj(GZIP_LEVEL, wbits=31),
        lambda compressor, data: compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH),
        _create_etag_suffix("gzip", zlib.ZLIB_RUNTIME_VERSION, GZIP_LEVEL),
    ),
)
"""In order of preference, for clients without one."""


def choose_encoding(accept_encoding: str) -> tuple[Encoding | None, bool]:
    """Choose the coding by an Accept-Encoding header; malformed items are ignored.

    Return None for no compression, and whether the client rejects uncompressed responses, so that
    small ones are compressed too. If it rejects every coding, the response is not compressed: an
    error would need a coding too.
    """
    return _choose_encoding(accept_encoding[:MAX_HEADER_LENGTH])


@lru_cache(maxsize=64)
def _choose_encoding(accept_encoding: str) -> tuple[Encoding | None, bool]:
    weights = _parse_weights(accept_encoding)
    other_weight = weights.get("*", 0.0)
    # by default lower than any weight a client can state: acceptable, but other codings win
    identity_weight = weights.get("identity", weights.get("*", 0.0001))
    best = max(ENCODINGS, key=lambda encoding: weights.get(encoding.name, other_weight))
    weight = weights.get(best.name, other_weight)
    if weight == 0 or weight < identity_weight:
        return None, False
    return best, identity_weight == 0


def _parse_weights(accept_encoding: str) -> dict[str, float]:
    weights = {}
    for item in accept_encoding.split(","):
        if match := _ITEM.fullmatch(item.strip(" \t")):
            name = match[1].lower()
            # x-gzip is an alias (RFC 9110, 8.4.1.3)
            weights["gzip" if name == "x-gzip" else name] = float(match[2] or 1)
    return weights
