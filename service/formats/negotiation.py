"""Content negotiation by the Accept header (RFC 9110, section 12.5.1)."""

from collections.abc import Iterable, Iterator, Mapping

MediaRange = tuple[str, dict[str, str], float]
"""Type and subtype, either of which may be `*`; parameters; weight (q-value)."""


def select_offer(accept: str, offers: Mapping[str, Iterable[str]]) -> str | None:
    """Return the name of the offer that the client prefers, or None if it accepts none.

    `offers` are media types by name. The most specific matching range sets the weight of an offer,
    so `*/*, text/csv;q=0` accepts everything but CSV. Ties are resolved by specificity, then by
    the order of the offers.
    """
    ranges = list(_parse_accept(accept))
    selected, best_rank = None, (0.0, 0)
    for name, media_types in offers.items():
        matches = [
            (_compute_specificity(media_range, media_type), media_range[2])
            for media_type in media_types
            for media_range in ranges
        ]
        specificity, weight = max(matches, default=(0, 0.0))
        if specificity and weight and (weight, specificity) > best_rank:
            selected, best_rank = name, (weight, specificity)
    return selected


def _parse_accept(accept: str) -> Iterator[MediaRange]:
    """Parse media ranges; malformed ones match nothing.

    Quoted commas are treated as separators: no offered media type contains one.
    """
    for member in accept.lower().split(","):
        name, *rest = (part.strip() for part in member.split(";"))
        parameters: dict[str, str] = {}
        weight = 1.0
        for parameter in rest:
            key, _, value = (part.strip() for part in parameter.partition("="))
            if key == "q":
                weight = _parse_weight(value)
                break  # parameters after the weight do not belong to the media type
            if key:
                parameters[key] = value.strip('"')
        yield name, parameters, weight


def _parse_weight(text: str) -> float:
    """Return the weight, from 0 to 1, or 0 if it is invalid."""
    digits = text.replace(".", "", 1)
    if not (digits.isascii() and digits.isdigit()) or (weight := float(text)) > 1:
        return 0.0
    return weight


def _compute_specificity(media_range: MediaRange, media_type: str) -> int:
    """Return how specifically the range matches the media type, or 0 if it does not.

    All offers are UTF-8, whether their media type contains the charset or not.
    """
    range_name, range_parameters, _ = media_range
    [(name, parameters, _)] = _parse_accept(media_type)
    if range_name == "*/*":
        return 1
    if range_name == f"{name.partition('/')[0]}/*":
        return 2
    if (
        range_name == name
        and range_parameters.items() <= {"charset": "utf-8", **parameters}.items()
    ):
        return 3 + len(range_parameters)
    return 0
