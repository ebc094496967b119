"""Whether a paper is withdrawn, as far as its comment tells: arXiv's feeds have no other sign."""

import re

_SAID = re.compile(
    r"\b(?:withdrawn|retracted|withdrawal|retraction)\b"
    r"|\bwithdraw(?:s|ing)? (?:this|the|our|my) (?:paper|article|manuscript|submission|preprint"
    r"|work|note|version)\b",
    re.IGNORECASE,
)
_OF_ANOTHER = re.compile(
    r"\b(?:replac|supersed|substitut|correct)(?:e?s|ing)\b[^.;]*?\b(?:withdrawn|retracted)\b"
    r"|\b(?:replacement|substitute) (?:of|for)\b[^.;]*?\b(?:withdrawn|retracted)\b"
    r"|\b(?:previous|earlier|former|first|older|old|other|prior|original) "
    r"(?:version|paper|article|submission|preprint|draft)s?\b[^.;]*?\b(?:withdrawn|retracted)\b"
    r"|\b(?:v\d+|version \d+|section \w+|theorem \w+|lemma \w+|part of\b[^.;]*?)"
    r"(?: has been| have been| was| were| is)? (?:withdrawn|retracted)\b"
    r"|\b(?:the|a|an|our) (?:withdrawn|retracted) \w+"
    r"|\b(?:withdrawn|retracted) (?:arxiv|paper arxiv)\b"
    r"|\b(?:not|never|nor) (?:been |be )?(?:withdrawn|retracted)\b",
    re.IGNORECASE,
)
"""It replaces a withdrawn paper, or only a part of it or an earlier version is withdrawn."""


def is_withdrawn(comment: str | None) -> bool:
    """Read the comment, in the words that authors and arXiv's administrators use."""
    return bool(comment and _SAID.search(_OF_ANOTHER.sub("", comment)))
