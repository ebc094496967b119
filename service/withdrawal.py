"""Whether a paper is withdrawn, as far as its comment tells: arXiv's feeds have no other sign."""

import re
from functools import cache

_SAID = (
    r"\b(?:withdrawn|retracted)\b"
    r"|^\W*(?:withdrawal|retraction)\b"
    r"|\b(?:withdrawal|retraction) (?:notice|note|statement|due|of (?:this|the|our|my))\b"
    r"|\bwithdraw(?:s|ing)? (?:this|the|our|my) (?:paper|article|manuscript|submission|preprint"
    r"|work|note|version)\b"
)
_GONE = r"(?:withdrawn|retracted)\b"
_THERE = rf"(?:(?!(?<!of )\bthis (?:\w+ )?(?:is|has|was)\b)[^.;]|\.(?=\w)){{0,200}}?\b{_GONE}"
"""Further on in a sentence that says nothing of this paper; arXiv:0901.1234 does not end it."""
_IS = r"(?:,? (?:which|that))? ?(?:(?:has|have|was|were|is|are)(?: since| now| been)* )?"
_OF_ANOTHER = (
    rf"\b(?:replac|supersed|substitut|correct)(?:e?s|ing)\b{_THERE}"
    rf"|\b(?:replacement|substitute) (?:of|for)\b{_THERE}"
    rf"|\b(?:comments?|reply|response) (?:on|to)\b{_THERE}"
    r"|\b(?:previous|earlier|former|first|older|old|other|prior|original)"
    rf" (?:version|paper|article|submission|preprint|draft)s?\b{_THERE}"
    r"|\b(?:v\d+|(?:version|section|theorem|lemma|proposition|corollary|conjecture|appendix)"
    rf" [\w.]+) ?{_IS}{_GONE}"
    rf"|\b(?:claims?|parts?) (?:of|in)\b{_THERE}"
    rf"|\barxiv:\S{{1,40}}(?=,? (?:which|that|has|was|is) ){_IS}{_GONE}"
    r"|\b(?:the|a|an|our) (?:withdrawn|retracted) \w+"
    r"|\b(?:withdrawn|retracted) (?:arxiv|paper arxiv|papers|articles)\b"
    rf"|\b(?:not|never|nor) (?:to )?(?:been |be )?{_GONE}"
)
"""It replaces a withdrawn paper, or only a part of it or an earlier version is withdrawn."""


def is_withdrawn(comment: str | None) -> bool:
    """Read the comment, in the words that authors and arXiv's administrators use."""
    return bool(comment and _compiled(_SAID).search(_compiled(_OF_ANOTHER).sub("", comment)))


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    """Made for the first paper that is stored: a start need not wait for it."""
    return re.compile(pattern, re.IGNORECASE)
