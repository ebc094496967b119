"""Records of OAI-PMH in arXiv's formats, with the white space of its templates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from demo.authors import format_line, split_name
from demo.taxonomy import CATEGORIES, add_aliases, format_set
from demo.tex import decode_tex, encode_tex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from demo.papers import Author, Paper

_SCHEMAS: Final = "https://oaipmh.arxiv.org/OAI"
FORMATS: Final = {
    "oai_dc": (
        "http://www.openarchives.org/OAI/2.0/oai_dc/",
        "https://www.openarchives.org/OAI/2.0/oai_dc.xsd",
    ),
    "arXiv": ("http://arxiv.org/OAI/arXiv/", f"{_SCHEMAS}/arXiv.xsd"),
    "arXivOld": ("http://arxiv.org/OAI/arXivOld/", f"{_SCHEMAS}/arXivOld.xsd"),
    "arXivRaw": ("http://arxiv.org/OAI/arXivRaw/", f"{_SCHEMAS}/arXivRaw.xsd"),
}
"""The namespace and the schema of each format."""
_XSI: Final = "http://www.w3.org/2001/XMLSchema-instance"
_ESCAPES: Final = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"}
)


def escape(text: str) -> str:
    """Escape a text for an element or an attribute."""
    return text.translate(_ESCAPES)


def render_header(paper: Paper, categories: Iterable[str]) -> str:
    """Render the header of a record without the indentation of its first line."""
    sets = "".join(
        f"            <setSpec>{format_set(category)}</setSpec>\n" for category in categories
    )
    return (
        "<header>\n"
        f"        <identifier>oai:arXiv.org:{paper.arxiv_id}</identifier>\n"
        f"        <datestamp>{paper.datestamp}</datestamp>\n"
        f"{sets}"
        "    </header>\n\n"
    )


def render_record(paper: Paper, prefix: str, *, has_affiliations: bool = False) -> str:
    """Render a record without the indentation of its first line."""
    match prefix:
        case "arXiv":
            lines = _render_arxiv(paper, has_affiliations=has_affiliations)
        case "arXivRaw":
            lines = _render_raw(paper)
        case "arXivOld":
            lines = _render_old(paper)
        case _:
            lines = _render_dublin_core(paper)
    return (
        "<record>\n"
        f"                {render_header(paper, add_aliases(paper.categories))}"
        "            <metadata>\n"
        f"                        {''.join(lines)}\n"
        "            </metadata>\n"
        "        </record>\n\n"
    )


def _open(prefix: str) -> str:
    namespace, schema = FORMATS[prefix]
    return (
        f'<{prefix} xmlns="{namespace}" xmlns:xsi="{_XSI}"'
        f' xsi:schemaLocation="{namespace} {schema}">\n'
    )


def _field(name: str, text: str | None, indent: int = 12) -> str:
    """Render an element if there is a text."""
    return f"{' ' * indent}<{name}>{escape(text)}</{name}>\n" if text else ""


def _convert(text: str | None) -> str | None:
    """Return a text as arXiv's server does after it has converted TeX."""
    return text and decode_tex(encode_tex(text))


def _get_raw(text: str | None) -> str | None:
    return text and encode_tex(text)


def _get_acm_class(paper: Paper) -> str | None:
    """Return what arXiv's templates show as ACM class, which is the MSC class by mistake."""
    return str(paper.msc_class) if paper.acm_class else None


def _render_arxiv(paper: Paper, *, has_affiliations: bool) -> list[str]:
    return [
        _open("arXiv"),
        _field("id", paper.arxiv_id, 8),
        _field("created", f"{paper.updated:%Y-%m-%d}", 8),
        _field("updated", str(paper.datestamp)),
        "        <authors>\n",
        *(_render_author(author, has_affiliations=has_affiliations) for author in paper.authors),
        "        </authors>\n",
        _field("title", _convert(paper.title), 8),
        _field("categories", " ".join(paper.categories)),
        _field("comments", _convert(paper.comment)),
        _field("proxy", _convert(paper.proxy)),
        _field("report-no", _convert(paper.report_number)),
        _field("msc-class", paper.msc_class),
        _field("acm-class", _get_acm_class(paper)),
        _field("journal-ref", _convert(paper.journal_ref)),
        _field("doi", " ".join(paper.dois)),
        _field("license", paper.license),
        _field("abstract", _convert(paper.abstract)),
        "    </arXiv>\n",
    ]


def _render_author(author: Author, *, has_affiliations: bool) -> str:
    name = split_name(author.name)
    affiliations = author.affiliations if has_affiliations else ()
    return (
        "                <author>\n"
        + _field("keyname", name.keyname, 20)
        + _field("forenames", name.forenames, 24)
        + _field("suffix", name.suffix, 24)
        + "".join(_field("affiliation", affiliation, 24) for affiliation in affiliations)
        + "                </author>\n"
    )


def _render_raw(paper: Paper) -> list[str]:
    return [
        _open("arXivRaw"),
        _field("id", paper.arxiv_id, 8),
        _field("submitter", paper.submitter, 8),
        *(_render_version(paper, number) for number in range(1, paper.version + 1)),
        _field("title", _get_raw(paper.title), 8),
        _field("authors", format_line(paper), 8),
        _field("categories", " ".join(paper.categories), 8),
        _field("comments", _get_raw(paper.comment)),
        _field("proxy", _get_raw(paper.proxy)),
        _field("report-no", _get_raw(paper.report_number)),
        _field("acm-class", _get_acm_class(paper)),
        _field("msc-class", paper.msc_class),
        _field("journal-ref", _get_raw(paper.journal_ref)),
        _field("doi", " ".join(paper.dois)),
        _field("license", paper.license),
        _field("abstract", _get_raw(paper.abstract)),
        "    </arXivRaw>\n",
    ]


def _render_version(paper: Paper, number: int) -> str:
    upload = paper.get_upload(number)
    return (
        f'            <version version="v{number}">\n'
        f"                <date>{paper.versions[number - 1]:%a, %d %b %Y %H:%M:%S GMT}</date>\n"
        f"                <size>{upload.kilobytes}kb</size>\n"
        + _field("source_type", upload.source_type, 20)
        + "            </version>\n"
    )


def _render_old(paper: Paper) -> list[str]:
    return [
        _open("arXivOld"),
        _field("id", paper.arxiv_id, 8),
        _field("title", _get_raw(paper.title), 8),
        _field("authors", format_line(paper), 8),
        _field("categories", " ".join(paper.categories), 8),
        _field("comments", _get_raw(paper.comment)),
        _field("proxy", _get_raw(paper.proxy)),
        _field("report-no", _get_raw(paper.report_number)),
        _field("msc-class", paper.msc_class),
        _field("acm-class", paper.acm_class),
        _field("journal-ref", _get_raw(paper.journal_ref)),
        _field("doi", " ".join(paper.dois)),
        _field("abstract", _get_raw(paper.abstract)),
        _field("license", paper.license),
        "    </arXivOld>\n",
    ]


def _render_dublin_core(paper: Paper) -> list[str]:
    namespace, schema = FORMATS["oai_dc"]
    subjects = dict.fromkeys(
        CATEGORIES[category] for category in add_aliases(paper.categories) if category in CATEGORIES
    )
    abstract = _convert(paper.abstract)
    return [
        (
            f'<oai_dc:dc xmlns:oai_dc="{namespace}" xmlns:dc="http://purl.org/dc/elements/1.1/"'
            f' xmlns:xsi="{_XSI}" xsi:schemaLocation="{namespace} {schema}">\n'
        ),
        _field("dc:title", _convert(paper.title), 8),
        *(_field("dc:creator", _format_creator(author)) for author in paper.authors),
        *(_field("dc:subject", subject) for subject in subjects),
        _field("dc:subject", paper.msc_class),
        _field("dc:subject", paper.acm_class),
        _field("dc:description", f"{abstract} " if abstract else None),
        _field("dc:description", _convert(paper.comment)),
        _field("dc:date", f"{paper.submitted:%Y-%m-%d}", 8),
        _field("dc:date", f"{paper.updated:%Y-%m-%d}") if paper.version > 1 else "",
        _field("dc:type", "text", 8),
        _field("dc:identifier", f"https://arxiv.org/abs/{paper.arxiv_id}", 8),
        _field("dc:identifier", f"http://arxiv.org/abs/{paper.arxiv_id}", 8),
        _field("dc:identifier", _convert(paper.journal_ref)),
        _field("dc:identifier", f"doi:{' '.join(paper.dois)}" if paper.dois else None),
        "    </oai_dc:dc>\n",
    ]


def _format_creator(author: Author) -> str:
    name = split_name(author.name)
    family = f"{name.keyname} {name.suffix}".rstrip()
    return f"{family}, {name.forenames}" if name.forenames else family
