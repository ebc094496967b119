"""What an Accept header asks for (RFC 9110, 12.5.1)."""

from collections.abc import Iterable, Iterator, Mapping

Range = tuple[str, dict[str, str], float]
"""Type and subtype, either of which may be a star; parameters; weight."""


def preferred(accept: str, offers: Mapping[str, Iterable[str]]) -> str | None:
    """Which of the offers, each with its media types, is wanted most; None where none is wanted.

    The weight of an offer is that of the most specific range that has it, so `*/*, text/csv;q=0`
    takes anything but CSV. Among equal weights, what is asked for more specifically wins; then what
    is offered first.
    """
    ranges = list(_ranges(accept))
    best, wanted = None, (0.0, 0)
    for name, media_types in offers.items():
        fits = [
            (_specificity(asked, media_type), asked[2])
            for media_type in media_types
            for asked in ranges
        ]
        specificity, weight = max(fits, default=(0, 0.0))
        if specificity and weight and (weight, specificity) > wanted:
            best, wanted = name, (weight, specificity)
    return best


def _ranges(accept: str) -> Iterator[Range]:
    """Its members; those that are no media ranges ask for nothing.

    Commas in quotes split here too: no media type offered has any.
    """
    for member in accept.lower().split(","):
        name, *rest = (part.strip() for part in member.split(";"))
        parameters: dict[str, str] = {}
        weight = 1.0
        for parameter in rest:
            key, _, value = (part.strip() for part in parameter.partition("="))
            if key == "q":
                weight = _weight(value)
                break  # what follows is of no media type
            if key:
                parameters[key] = value.strip('"')
        yield name, parameters, weight


def _weight(text: str) -> float:
    """From 0 to 1; 0 for anything else, as what cannot be read asks for nothing."""
    number = text.replace(".", "", 1)
    if not (number.isascii() and number.isdigit()) or (weight := float(text)) > 1:
        return 0.0
    return weight


def _specificity(asked: Range, media_type: str) -> int:
    """How closely the range names the media type; 0 where it does not have it.

    Everything offered is UTF-8, whether its media type says so or not.
    """
    wanted, parameters, _ = asked
    [(name, own, _)] = _ranges(media_type)
    if wanted == "*/*":
        return 1
    if wanted == f"{name.partition('/')[0]}/*":
        return 2
    if wanted == name and parameters.items() <= {"charset": "utf-8", **own}.items():
        return 3 + len(parameters)
    return 0
