"""Detects withdrawn papers by their comment: arXiv's feeds have no other indication."""

import re

_WITHDRAWN = re.compile(
    r"\b(?:withdrawn|retracted)\b"
    r"|^\W*(?:withdrawal|retraction)\b"
    r"|\b(?:withdrawal|retraction) (?:notice|note|statement|due|of (?:this|the|our|my))\b"
    r"|\bwithdraw(?:s|ing)? (?:this|the|our|my) (?:paper|article|manuscript|submission|preprint"
    r"|work|note|version)\b",
    re.IGNORECASE,
)
_PARTICIPLE = r"(?:withdrawn|retracted)\b"
_LATER = rf"(?:(?!(?<!of )\bthis (?:\w+ )?(?:is|has|was)\b)[^.;]|\.(?=\w)){{0,200}}?\b{_PARTICIPLE}"
"""Later in a sentence that does not refer to this paper. A dot as in arXiv:0901.1234 is allowed."""
_VERB = r"(?:,? (?:which|that))? ?(?:(?:has|have|was|were|is|are)(?: since| now| been)* )?"
_OTHER_SUBJECT = re.compile(
    rf"\b(?:replac|supersed|substitut|correct)(?:e?s|ing)\b{_LATER}"
    rf"|\b(?:replacement|substitute) (?:of|for)\b{_LATER}"
    rf"|\b(?:comments?|reply|response) (?:on|to)\b{_LATER}"
    r"|\b(?:previous|earlier|former|first|older|old|other|prior|original)"
    rf" (?:version|paper|article|submission|preprint|draft)s?\b{_LATER}"
    r"|\b(?:v\d+|(?:version|section|theorem|lemma|proposition|corollary|conjecture|appendix)"
    rf" [\w.]+) ?{_VERB}{_PARTICIPLE}"
    rf"|\b(?:claims?|parts?) (?:of|in)\b{_LATER}"
    rf"|\barxiv:\S{{1,40}}(?=,? (?:which|that|has|was|is) ){_VERB}{_PARTICIPLE}"
    r"|\b(?:the|a|an|our) (?:withdrawn|retracted) \w+"
    r"|\b(?:withdrawn|retracted) (?:arxiv|paper arxiv|papers|articles)\b"
    rf"|\b(?:not|never|nor) (?:to )?(?:been |be )?{_PARTICIPLE}",
    re.IGNORECASE,
)
"""Comments about another paper, an earlier version, or a part of the paper that is withdrawn."""


def is_withdrawn(comment: str | None) -> bool:
    """Check a comment for the wording that authors and arXiv's administrators use."""
    return bool(comment and _WITHDRAWN.search(_OTHER_SUBJECT.sub("", comment)))
