"""arXiv's categories."""

import re

_CATEGORY = re.compile(
    r"(?P<archive>[a-z]+(?:-[a-z]+)*)(?:\.(?P<subject>\*|[a-z]+(?:-[a-z]+)*))?",
    re.ASCII | re.IGNORECASE,
)


def parse_category(text: str) -> str | None:
    """Return a category such as `cs.AI` or `cs.*` in arXiv's spelling, or None."""
    if not (match := _CATEGORY.fullmatch(text)):
        return None
    archive, subject = match["archive"].lower(), match["subject"]
    if subject is None:
        return archive
    is_short = len(subject) == len("AI")
    return f"{archive}.{subject.upper() if is_short else subject.lower()}"
