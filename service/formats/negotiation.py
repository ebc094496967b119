"""Content negotiation by the Accept header (RFC 9110, section 12.5.1)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

MAX_MEMBERS = 100
"""Members of the header that are considered; browsers send at most ten."""


class MediaRange(NamedTuple):
    """A member of an Accept header, or a media type that is offered."""

    name: str
    """Type and subtype, either of which may be `*` in the header."""
    parameters: frozenset[tuple[str, str]]
    weight: float = 1.0
    """The q-value."""


def select_offer(accept: str, offers: Mapping[str, Sequence[MediaRange]]) -> str | None:
    """Return the name of the offer that the client prefers, or None if it accepts none.

    `offers` are media types by name. The most specific matching range sets the weight of an offer,
    so `*/*, text/csv;q=0` accepts everything but CSV. Ties are resolved by specificity, then by
    the order of the offers.
    """
    members = accept.lower().split(",", MAX_MEMBERS)[:MAX_MEMBERS]
    # repeated members would be compared with each offer again
    ranges = [_parse_media_range(member) for member in dict.fromkeys(members)]
    selected, best_rank = None, (0.0, 0)
    for name, media_types in offers.items():
        matches = [
            (_compute_specificity(media_range, media_type), media_range.weight)
            for media_type in media_types
            for media_range in ranges
        ]
        specificity, weight = max(matches, default=(0, 0.0))
        if specificity and weight and (weight, specificity) > best_rank:
            selected, best_rank = name, (weight, specificity)
    return selected


def parse_media_type(text: str) -> MediaRange:
    """Return a media type that is offered; all are UTF-8, even if it contains no charset."""
    name, parameters, _ = _parse_media_range(text)
    return MediaRange(name, parameters | {("charset", "utf-8")})


def _parse_media_range(member: str) -> MediaRange:
    """Parse a media range; a malformed one matches nothing.

    Quoted commas are treated as separators: no offered media type contains one.
    """
    name, *rest = (part.strip() for part in member.split(";"))
    parameters: set[tuple[str, str]] = set()
    weight = 1.0
    for parameter in rest:
        key, _, value = (part.strip() for part in parameter.partition("="))
        if key == "q":
            weight = _parse_weight(value)
            break  # parameters after the weight do not belong to the media type
        if key:
            parameters.add((key, value.strip('"')))
    return MediaRange(name, frozenset(parameters), weight)


def _parse_weight(text: str) -> float:
    """Return the weight, from 0 to 1, or 0 if it is invalid."""
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()) or (weight := float(text)) > 1:
        return 0.0
    return weight


def _compute_specificity(media_range: MediaRange, media_type: MediaRange) -> int:
    """Return how specifically the range matches the media type, or 0 if it does not."""
    if media_range.name == media_type.name:
        is_match = media_range.parameters <= media_type.parameters
        return 3 + len(media_range.parameters) if is_match else 0
    if media_range.name == "*/*":
        return 1
    return 2 if media_range.name == f"{media_type.name.partition('/')[0]}/*" else 0
