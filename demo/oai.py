"""OAI-PMH over generated papers, as arXiv's server of 2025 speaks it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qs, quote, unquote, urlencode

from demo import oai_records
from demo.papers import FIRST_DATESTAMP
from demo.taxonomy import find_sets, list_sets

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from demo.papers import Paper

PREFIX: Final = "oai:arXiv.org:"
_URL: Final = "http://oaipmh.arxiv.org/oai"
_SETS: Final = frozenset(name for name, _ in list_sets())
_MAX_LEVELS: Final = 3
_ID: Final = re.compile(
    r"(\d{2}(?:0[1-9]|1[0-2])\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{2}(?:0[1-9]|1[0-2])\d{3})(?:v\d+)?"
)
_DESCRIPTIONS: Final = {
    "badArgument": (
        "The request includes illegal arguments, is missing required arguments, includes a"
        " repeated argument, or values for arguments have an illegal syntax."
    ),
    "badResumptionToken": "The value of the resumptionToken argument is invalid or expired.",
    "badVerb": (
        "Value of the verb argument is not a legal OAI-PMH verb, the verb argument is missing, or"
        " the verb argument is repeated."
    ),
    "cannotDisseminateFormat": (
        "The metadata format identified by the value given for the metadataPrefix argument is not"
        " supported by the item or by the repository."
    ),
    "idDoesNotExist": (
        "The value of the identifier argument is unknown or illegal in this repository."
    ),
    "noRecordsMatch": (
        "The combination of the values of the from, until, set and metadataPrefix arguments"
        " results in an empty list."
    ),
}


class UnavailableError(Exception):
    """A request that the server cannot answer at the moment."""


class RejectedError(Exception):
    """A request that is answered with an error of OAI-PMH."""

    def __init__(
        self, code: str, reason: str = "", attributes: Mapping[str, str] | None = None
    ) -> None:
        """Set the code and the reason, and the attributes of the request that are repeated."""
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.attributes = attributes or {}


class _Range(NamedTuple):
    """What a list of records is restricted to."""

    first: date
    last: date
    set_name: str | None

    def contains(self, paper: Paper) -> bool:
        if not self.first <= paper.datestamp <= self.last:
            return False
        return self.set_name is None or self.set_name in find_sets(paper.categories)


@dataclass
class OaiServer:
    """Answers requests of OAI-PMH. Its attributes may be changed while it runs."""

    max_records: int = 2_500
    """Maximum number of records in a response."""
    max_identifiers: int = 20_000
    """Maximum number of headers in a response."""
    unavailable_dates: set[date] = field(default_factory=set)
    """Lists that include one of these dates are unavailable."""
    expired_tokens: int = 0
    """Number of requests with a token, beginning with the next, whose token has expired."""
    repeats_token: bool = False
    """Whether the response to a token contains the same records and the same token for ever."""
    answered: Mapping[str, str] | None = None
    """If set, every request is answered as if it had these parameters."""
    has_affiliations: bool = False
    """Whether the format `arXiv` has affiliations, as it had until 2025."""

    def __post_init__(self) -> None:
        """Begin without papers."""
        self._papers: list[Paper] = []

    def set_papers(self, papers: Sequence[Paper]) -> None:
        """Serve these papers."""
        self._papers = sorted(papers, key=lambda paper: (paper.datestamp, paper.arxiv_id))

    def reset(self) -> None:
        """Answer without faults."""
        self.unavailable_dates = set()
        self.expired_tokens, self.repeats_token, self.answered = 0, False, None

    def answer(self, params: Sequence[tuple[str, str]]) -> bytes:
        """Return the response to a request with these parameters. Raises UnavailableError."""
        try:
            attributes, content = self._answer(_check_unique(params))
        except RejectedError as error:
            attributes, content = error.attributes, _render_error(error)
        return _render_response(attributes, content).encode()

    def _answer(self, params: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
        params = self.answered or params
        match params.get("verb"):
            case "GetRecord":
                return self._get_record(params)
            case "ListRecords" | "ListIdentifiers":
                return self._list_records(params)
            case "Identify":
                _check_no_others(params, "No other parameters allowed for Identify")
                return params, _IDENTITY
            case "ListMetadataFormats":
                return self._list_formats(params)
            case "ListSets":
                return _list_sets(params)
        raise RejectedError("badVerb", "Invalid verb provided")

    def _get_record(self, params: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
        if params.keys() != {"verb", "identifier", "metadataPrefix"}:
            message = (
                "Parameters provided did not match expected."
                " Expected: identifier, metadataPrefix, verb"
            )
            raise RejectedError("badArgument", message)
        attributes = {"verb": "GetRecord", "identifier": params["identifier"]}
        arxiv_id = _parse_identifier(params["identifier"])
        attributes["metadataPrefix"] = _parse_format(params, attributes)
        paper = self._find_paper(arxiv_id)
        if paper is None:
            raise RejectedError("idDoesNotExist", "Nothing found for this ID", attributes)
        record = self._render_record(paper, params["metadataPrefix"])
        return attributes, f"    <GetRecord>\n                {record}    </GetRecord>\n"

    def _find_paper(self, arxiv_id: str) -> Paper | None:
        return next((paper for paper in self._papers if paper.arxiv_id == arxiv_id), None)

    def _render_record(self, paper: Paper, prefix: str) -> str:
        return oai_records.render_record(paper, prefix, has_affiliations=self.has_affiliations)

    def _list_formats(self, params: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
        if "identifier" not in params:
            _check_no_others(params, "Only allowed parameters are verb, identifier")
        elif params.keys() != {"verb", "identifier"}:
            raise RejectedError("badArgument", "Only identifier parameter allowed")
        elif self._find_paper(_parse_identifier(params["identifier"])) is None:
            raise RejectedError("idDoesNotExist", "No paper with that ID.", params)
        formats = "".join(
            "                <metadataFormat>\n"
            f"    <metadataPrefix>{prefix}</metadataPrefix>\n"
            f"    <schema>{schema}</schema>\n"
            f"    <metadataNamespace>{namespace}</metadataNamespace>\n"
            "</metadataFormat>\n\n"
            for prefix, (namespace, schema) in oai_records.FORMATS.items()
        )
        attributes = {name: params[name] for name in ("verb", "identifier") if name in params}
        return attributes, f"    <ListMetadataFormats>\n{formats}    </ListMetadataFormats>\n"

    def _list_records(self, params: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
        verb = params["verb"]
        attributes = {"verb": verb}
        token, skip = params.get("resumptionToken"), 0
        if token is not None:
            params, skip = self._read_token(params, attributes)
        prefix, wanted = _parse_list(params, attributes)
        if any(wanted.first <= day <= wanted.last for day in self.unavailable_dates):
            raise UnavailableError
        limit = self.max_records if verb == "ListRecords" else self.max_identifiers
        papers = [paper for paper in self._papers if wanted.contains(paper)]
        papers = papers[skip : skip + limit + 1]  # one more shows whether others follow
        if not papers:
            raise RejectedError("noRecordsMatch", attributes=attributes)
        lines = [
            f"                    {self._render_record(paper, prefix)}"
            if verb == "ListRecords"
            else f"                {oai_records.render_header(paper, paper.categories)}"
            for paper in papers[:limit]
        ]
        if len(papers) > limit:
            new_token = _create_token(papers, skip, attributes)
            if token is not None and self.repeats_token:
                new_token = attributes["resumptionToken"]
            lines.append(_render_token(new_token))
        elif token is not None:
            lines.append("                    <resumptionToken/>\n\n")
        return attributes, f"    <{verb}>\n{''.join(lines)}    </{verb}>\n"

    def _read_token(
        self, params: Mapping[str, str], attributes: dict[str, str]
    ) -> tuple[dict[str, str], int]:
        """Return the parameters in the token of a request and the number of records to skip."""
        if params.keys() != {"verb", "resumptionToken"}:
            message = "No other paramters allowed with resumptionToken"  # as arXiv spells it
            raise RejectedError("badArgument", message)
        values = {
            name: value[0] for name, value in parse_qs(unquote(params["resumptionToken"])).items()
        }
        skip = values.pop("skip", "")
        if self.expired_tokens or not skip.isdigit() or "verb" not in values:
            self.expired_tokens = max(0, self.expired_tokens - 1)
            message = "Token decoding failed or format is invalid."
            raise RejectedError("badResumptionToken", message)
        attributes["resumptionToken"] = _format_token(values, int(skip))
        if params["verb"] != values["verb"]:
            raise RejectedError("badResumptionToken", "token from different verb", attributes)
        return values, int(skip)


def _check_unique(params: Sequence[tuple[str, str]]) -> dict[str, str]:
    unique = dict(params)
    if len(unique) < len(params):
        raise RejectedError("badArgument", "Duplicate parameters not allowed")
    return unique


def _check_no_others(params: Mapping[str, str], message: str) -> None:
    if params.keys() != {"verb"}:
        raise RejectedError("badArgument", message)


def _list_sets(params: Mapping[str, str]) -> tuple[Mapping[str, str], str]:
    if params.keys() == {"verb", "resumptionToken"}:
        raise RejectedError("badArgument", "Invalid token")
    if "resumptionToken" in params:
        message = "No other paramters allowed with resumptionToken"
        raise RejectedError("badArgument", message)
    _check_no_others(params, "No other parameters allowed")
    sets = "".join(
        "                <set>\n"
        f"        <setSpec>{name}</setSpec>\n"
        f"        <setName>{oai_records.escape(full_name)}</setName>\n"
        "    </set>\n\n"
        for name, full_name in list_sets()
    )
    return params, f"    <ListSets>\n{sets}    </ListSets>\n"


def _parse_identifier(identifier: str) -> str:
    """Return the id of a paper without a version; whether the paper exists is not checked."""
    if not identifier.startswith(PREFIX):
        raise RejectedError("idDoesNotExist", f"All identifiers start with: {PREFIX}")
    found = _ID.fullmatch(identifier.removeprefix(PREFIX))
    if not found:
        raise RejectedError("idDoesNotExist", "Invalid arXiv_id structure")
    return found[1]


def _parse_format(params: Mapping[str, str], attributes: Mapping[str, str]) -> str:
    prefix = params["metadataPrefix"]
    if prefix not in oai_records.FORMATS:
        message = "Did not recognize requested format"
        raise RejectedError("cannotDisseminateFormat", message, attributes)
    return prefix


def _parse_list(params: Mapping[str, str], attributes: dict[str, str]) -> tuple[str, _Range]:
    """Validate the parameters of a list in arXiv's order, and add them to the attributes."""
    if "metadataPrefix" not in params:
        raise RejectedError("badArgument", "metadataPrefix required.")
    if params.keys() - {"verb", "metadataPrefix", "from", "until", "set"}:
        message = "Unallowed parameter. Allowed parameters: metadataPrefix, verb, from, until, set"
        raise RejectedError("badArgument", message)
    attributes["metadataPrefix"] = _parse_format(params, attributes)
    today = datetime.now(UTC).date()
    first = _parse_date(params, "from", attributes) or FIRST_DATESTAMP
    last = _parse_date(params, "until", attributes) or today
    set_name = params.get("set") or None
    if set_name:
        _check_set(set_name)
        attributes["set"] = set_name
    if first > last:
        message = "until date must be greater than or equal to from date"
        raise RejectedError("badArgument", message)
    if first < FIRST_DATESTAMP:
        raise RejectedError("badArgument", "start date too early")
    if last > today:
        raise RejectedError("badArgument", "until date too late")
    return attributes["metadataPrefix"], _Range(first, last, set_name)


def _parse_date(params: Mapping[str, str], name: str, attributes: dict[str, str]) -> date | None:
    text = params.get(name)
    if not text:
        return None
    day = _read_date(text)
    if day is None:
        raise RejectedError("badArgument", f"{name} date format must be YYYY-MM-DD")
    attributes[name] = text
    return day


def _read_date(text: str) -> date | None:
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _check_set(name: str) -> None:
    if len(name.split(":")) > _MAX_LEVELS:
        raise RejectedError("badArgument", "Set has too many levels")
    if name not in _SETS:
        raise RejectedError("badArgument", "Set does not exist")


def _create_token(papers: Sequence[Paper], skip: int, attributes: dict[str, str]) -> str:
    """Return the token of the next page, which begins with the last of these papers.

    If the page has more than one day, the next list begins with the last day. As on arXiv, the
    attributes of the current request then show that day, too.
    """
    *shown, following = papers
    if following.datestamp == shown[0].datestamp:
        return _format_token(attributes, skip + len(shown))
    attributes["from"] = following.datestamp.isoformat()
    same_day = sum(paper.datestamp == following.datestamp for paper in shown)
    return _format_token(attributes, same_day)


def _format_token(params: Mapping[str, str], skip: int) -> str:
    values = {name: value for name, value in params.items() if name != "resumptionToken"}
    return quote(urlencode({**values, "skip": skip}))


def _render_token(token: str) -> str:
    expiration = datetime.now(UTC).date() + timedelta(days=1)
    return (
        f"                    <resumptionToken expirationDate='{expiration}T00:00:00Z'>"
        f"{token}</resumptionToken>\n\n"
    )


def _render_error(error: RejectedError) -> str:
    reason = f" Reason: {oai_records.escape(error.reason)}" if error.reason else ""
    return f"    <error code='{error.code}'>{_DESCRIPTIONS[error.code]}{reason}</error>\n"


def _render_response(attributes: Mapping[str, str], content: str) -> str:
    indent = " " * (12 if attributes.get("verb") == "ListSets" else 16)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/" \n'
        '         xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"\n'
        '         xsi:schemaLocation="http://www.openarchives.org/OAI/2.0/'
        ' http://www.openarchives.org/OAI/2.0/OAI-PMH.xsd">\n'
        f"    <responseDate>{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}</responseDate>\n"
        f"{indent}<request{_render_attributes(attributes)}>{_URL}</request>\n\n\n"
        f"{content}</OAI-PMH>"
    )


def _render_attributes(attributes: Mapping[str, str]) -> str:
    if "resumptionToken" in attributes:
        token = oai_records.escape(attributes["resumptionToken"])
        return f" verb='{attributes['verb']}' resumptionToken='{token}'"
    return "".join(f' {name}="{oai_records.escape(value)}"' for name, value in attributes.items())


_IDENTITY: Final = """\
    <Identify>
        <repositoryName>arXiv</repositoryName>
        <baseURL>https://oaipmh.arxiv.org/oai</baseURL>
        <protocolVersion>2.0</protocolVersion>
        <adminEmail>help@arxiv.org</adminEmail>
        <earliestDatestamp>2005-09-16</earliestDatestamp>
        <deletedRecord>persistent</deletedRecord>
        <granularity>YYYY-MM-DD</granularity>
            <description>
        <eprints xmlns="http://www.openarchives.org/OAI/1.1/eprints" \
xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" \
xsi:schemaLocation="http://www.openarchives.org/OAI/1.1/eprints \
http://www.openarchives.org/OAI/1.1/eprints.xsd">
            <content>
                <text>Author self-archived e-prints</text>
            </content>
            <metadataPolicy>
                <text>Metadata harvesting permitted through OAI interface</text>
                <URL>https://info.arxiv.org/help/oa/metadataPolicy.html</URL>
            </metadataPolicy>
            <dataPolicy>
                <text>Full-content harvesting not permitted (except by special arrangement)</text>
                <URL>https://info.arxiv.org/help/oa/dataPolicy.html</URL>
            </dataPolicy>
            <submissionPolicy>
                <text>Author self-submission preferred, submissions screened for appropriateness.\
</text>
                <URL>https://info.arxiv.org/help/submit/index.html</URL>
            </submissionPolicy>
        </eprints>
    </description>

    </Identify>
"""
