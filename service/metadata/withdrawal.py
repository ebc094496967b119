"""Detects withdrawn papers by their comment: arXiv's feeds have no other indication."""

import re

_NOUN = (
    r"(?:paper|article|manuscript|submissions?|pre-?print|e-?print|work|note|version|draft"
    r"|report|study|document|letter|contribution|thesis|survey|book|entry|upload|replacement)(?:'s)?"
)
_WITHDRAWN = r"(?:withdrawn|withdrew|withdraw|retracted)\b"
_OWN = (
    r"(?:(?:the )?following|this(?: (?!earlier|previous|first)[\w-]+){0,2}"
    r"|(?:the|our|my|their)(?: (?:present|current|above|whole|entire|latest|new))?)"
)
_BEFORE_VERB = (
    r"(?: ?\b(?:has|have|had|is|are|was|were|be|been|being|must|should|needs?|to|now|hereby"
    r"|herewith|temporarily|therefore|hence|thus|also|since|then|later|currently|permanently"
    r"|subsequently|voluntarily)\b){0,6}"
)
"""Auxiliaries and adverbs; without those that deny or suppose: not, never, may, could, will."""
_FROM_VENUE = (
    r"(?:(?: by (?:the |its )?authors?(?:\(s\))?)? from (?!(?:the )?(?:arxiv|archive|e-?print"
    r"|preprint|public\b|circulation)|this (?:archive|server|site|repository))"
    r"| by the (?:journal|publisher|editor|conference))"
)
"""From a journal or a conference; the paper stays on arXiv."""

_THIS_PAPER = re.compile(
    r"(?:(?<!\bif )(?<!\bof )(?<!\bin )(?<!\bto )(?<!\bon )(?<!\bwith )(?<!\bfrom )"
    rf"\b{_OWN} {_NOUN}\b"
    rf"|(?:^|[,:(\u2013\u2014-]|\bso\b) ?{_NOUN}\b"
    r"|^this(?: comment)?(?= (?:has|is|was)\b))"
    rf"(?: of (?:this|the|our|my) {_NOUN}\b)?"
    r"(?: \([^()]{0,60}\)|, [^,]{1,60},)?"
    rf"{_BEFORE_VERB} (?:{_WITHDRAWN}|(?:been|being|be|is|was|were) removed\b)(?!{_FROM_VENUE})",
    re.IGNORECASE,
)
"""This paper has been withdrawn; paper withdrawn."""
_ACTION = re.compile(
    rf"(?<!\bto be )(?:\b(?:withdraw(?:s|n|ing)?|withdrew|retract(?:s|ed|ing)?) {_OWN} {_NOUN}"
    rf"|^(?:the )?(?:authors?|submitter) (?:has |have )?(?:withdrawn?|withdrew|retracted) {_NOUN}"
    r"|\b(?:we|i) (?:have )?(?:hereby |therefore )?(?:withdrawn?|withdrew|retract(?:ed)?) it"
    rf"|\bremov(?:e|es|ed|ing) {_OWN} (?:paper|article|manuscript|submission|preprint))\b"
    rf"(?!{_FROM_VENUE}| to (?-i:[A-Z]))",
    re.IGNORECASE,
)
"""The authors withdraw this paper; withdrew the paper."""
_DENIAL = re.compile(
    r"\b(?:not|never|nor|cannot|could|may|might|would(?! like)|if|when|whether|unless)\b[^,:]*$",
    re.IGNORECASE,
)
_REQUEST = re.compile(
    r"\b(?:request|ask|seek|demand)(?:s|ed|ing)?(?: for)?(?: the| a)? (?:withdrawal|retraction)\b"
    rf"(?: of {_OWN} {_NOUN}\b)?(?! of|{_FROM_VENUE})"
    r"|(?:^|[,:(] ?)(?:withdrawal|retraction)"
    r"(?= ?(?:$|[:(])| (?:notice|statement|requested|due|because|as|by the authors?)\b"
    rf"| of {_OWN} {_NOUN}\b)"
    r"|^(?:this is a )?(?:withdrawn|retracted) (?:paper|article|manuscript|pre-?print)"
    r"(?= ?(?:$|[,:(]))",
    re.IGNORECASE,
)
"""The authors request the withdrawal; withdrawal due to an error; withdrawn paper."""

_FOLLOWING = (
    r"(?= ?(?:$|[,:()\[\]/\u2013\u2014-])| (?:by|due|because|as|since|for|owing|pending|until"
    r"|after|following|at|in (?:favou?r|order|view|light|\d)|on|to|see|and|but|with|from|\d+"
    r"|per|upon|temporarily|permanently|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*)"
    r"\b)"
)
"""What follows a participle that does not belong to a noun, as in *withdrawn drugs*."""
_NO_SUBJECT = re.compile(
    r"(?:^|(?P<aside>[(\[]|,(?= (?:now|recently|later|since)\b))|[,:\u2013\u2014-]"
    r"|(?P<and>\b(?:and|but)\b(?! (?:therefore|hence|thus|so)\b))|\b(?:therefore|hence|thus|so)\b)"
    rf"(?: ?\b(?:and|but|so|now|recently|it)\b)?{_BEFORE_VERB} ?\b{_WITHDRAWN}"
    rf"{_FOLLOWING}(?!{_FROM_VENUE})(?P<reason> (?:by|due|because|as|since)\b)?",
    re.IGNORECASE,
)
"""Withdrawn; 12 pages, withdrawn by the authors; superseded and therefore withdrawn."""
_OTHER_PAPER = re.compile(
    r"\b(?:(?:replac|supersed|substitut|correct|expand|extend)(?:e?s|ing)"
    r"|(?:replacement|substitute|version|merger) (?:of|for|with)|comments? on|(?:reply|response) to"
    r"|(?:previous|earlier|former|first|older|old|other|prior|original)"
    rf" {_NOUN}s?)\b|\bv\d+\b",
    re.IGNORECASE,
)
_PART = re.compile(
    r"\b(?:section|theorem|lemma|proposition|corollary|conjecture|remark|example|appendix|chapter"
    r"|equation|eq|figure|fig|table|algorithm|claims?|statements?|assertion|arguments?|proofs?"
    r"|results?|bounds?|estimates?|parts?(?! of\b))\b",
    re.IGNORECASE,
)
_VENUE = re.compile(
    r"\b(?:accepted|under review|(?:submitted|presented|published|appear(?:s|ed)?)"
    r" (?:to|at|in)\b|(?-i:\w{0,9}[A-Z]{2,9}) (?:19|20)\d\d\b)",
    re.IGNORECASE,
)
_NAMED_BEFORE = re.compile(r"(?:\barxiv:\S+|/\d{7}(?:v\d+)?|\b(?:19|20)\d\d) ?$", re.IGNORECASE)
"""An identifier, or a conference and its year, to which a parenthesis refers."""
_REMOVED = re.compile(
    rf"(?:^|[,:] ?)(?:(?:this |the )?{_NOUN} )?removed (?:by (?:the |its )?"
    r"(?:authors?|submitter|arxiv|admin)|from (?:the )?arxiv|(?:at the|by|on) request of the author"
    r"|(?:at|by|on|upon|per) (?:the )?authors?['\u2019]?s? request"
    r"|(?:due to|because of)[^,:]{0,30}\b(?:copyright|licen[cs]|patent|plagiar|legal))",
    re.IGNORECASE,
)
"""Removed by the author. Figures and typos are removed for other reasons."""

_RESTORED = re.compile(
    r"\bnow (?:been )?(?:fixed|corrected|restored|reinstated)\b"
    r"|\b(?:and|is|was|been) (?:restored|reinstated)\b",
    re.IGNORECASE,
)
"""Withdrawn in v2 and restored in v3."""

_MAX_LENGTH = 10_000
"""Characters of a comment that are examined; those on arXiv have at most a few hundred."""
_KEYWORD = re.compile("withdr|retract|remov", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[;!?]|\.(?= (?!\()|$)")
_CONTEXT = 200
"""Characters before a participle that tell what it refers to."""


def is_withdrawn(comment: str | None) -> bool:
    """Return whether a comment states that the paper is withdrawn from arXiv.

    A part of the paper, another version, another paper and a withdrawal from a journal or a
    conference are not meant. Each sentence is examined on its own.
    """
    if not comment or not _KEYWORD.search(comment):
        return False
    sentences = _SENTENCE_END.split(" ".join(comment[:_MAX_LENGTH].split()))
    return any(
        _states_withdrawal(sentence.strip(" *[]"))
        for sentence in sentences
        if (keyword := _KEYWORD.search(sentence)) and not _RESTORED.search(sentence, keyword.end())
    )


def _states_withdrawal(sentence: str) -> bool:
    return (
        any(pattern.search(sentence) for pattern in (_THIS_PAPER, _REQUEST, _REMOVED))
        or any(not _DENIAL.search(_before(match)) for match in _ACTION.finditer(sentence))
        or any(map(_is_about_this_paper, _NO_SUBJECT.finditer(sentence)))
    )


def _is_about_this_paper(match: re.Match[str]) -> bool:
    """Return whether a participle without a subject refers to the paper as a whole."""
    context = _before(match)
    return not (
        _OTHER_PAPER.search(context)
        or (match["aside"] and _NAMED_BEFORE.search(context))
        or (match["and"] and _PART.search(context))
        or (not match["reason"] and _VENUE.search(context))
    )


def _before(match: re.Match[str]) -> str:
    return match.string[max(0, match.start() - _CONTEXT) : match.start()]
