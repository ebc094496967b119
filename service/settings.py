"""Settings from environment variables."""

import os
import re
import socket
from collections.abc import Iterator, Mapping
from datetime import tzinfo
from ipaddress import IPv6Address, ip_address
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import httpx
from msgspec import Meta, Struct, ValidationError, convert, structs

from . import timestamps
from .api_keys import Rate
from .errors import ConfigurationError
from .models.arxiv import MAX_RESULTS, SearchSource
from .models.filters import MAX_ITEMS_PER_PAGE

PREFIX = "ARXIV_"
MIN_INTERVAL = 3.0
"""Seconds between requests that arXiv requires: https://info.arxiv.org/help/api/tou.html."""
Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Token = Annotated[str, Meta(min_length=16, max_length=1000)]
ENDPOINTS = {
    "frontend": ("arxiv", "api/query", "queries", "results", "papers", "announcements"),
    "backend": (
        "arxiv-api",
        "get-sequence",
        "write-queries",
        "write-results",
        "read-queries",
        "read-results",
        "find-answer",
        "find-results",
        "find-entries",
        "read-archive",
        "find-keys",
        "find-signing-key",
    ),
}
GUARDED = "guarded"  # the value for the backend endpoints if a token is set, and for none otherwise

READING = frozenset(
    {
        *("queries", "results", "papers", "announcements"),
        *("read-queries", "read-results", "read-archive", "find-keys", "find-signing-key"),
    }
)
"""The endpoints that neither write nor send requests to arXiv."""
SEARCH_SEGMENTS = frozenset(
    name.partition("/")[0] for name in ENDPOINTS["frontend"] if name not in READING
)
"""First segments of the paths whose GET sends a request to arXiv."""

_TOKEN = re.compile(r"[!-~]([ -~]*[!-~])?")
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_EMAIL = re.compile(r"(?=[!-~]+\Z)[^@()<>]+@[^@()<>]+")
"""Printable ASCII, since the address becomes part of a header."""


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All settings. The variable of a field is `ARXIV_` and its name in capitals."""

    host: str = "127.0.0.1"
    port: Port = 8000
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Number of processes that serve HTTP."""
    database_url: str | None = None
    """PostgreSQL, as a URL or key=value pairs of libpq; unset: an embedded one in `data_dir`."""
    database_ro_url: str | None = None
    """Where to read; unset: `database_url`. Sufficient by itself for endpoints that only read."""
    results_database_url: str | None = None
    """Where results and papers are stored; unset: `database_url`."""
    results_database_ro_url: str | None = None
    """Where results and papers are read; unset: `results_database_url` or `database_ro_url`."""
    sequence_database_url: str | None = None
    """Where the numbers of searches come from; unset: `database_url`."""
    queue_url: str | None = None
    """RabbitMQ, through which searches are recorded; unset: written directly."""
    data_dir: str = "./data"
    """Directory of the embedded PostgreSQL."""
    index_dir: str | None = None
    """Directory of the search index of this machine; unset: `index` in `data_dir`."""
    api_url: str = "https://export.arxiv.org/api/query"
    oai_url: str = "https://oaipmh.arxiv.org/oai"
    """arXiv's OAI-PMH, from which the mirror is updated."""
    rss_url: str = "https://rss.arxiv.org"
    """Where arXiv's daily feeds are; their paths are `rss/` and the names of archives."""
    sync: Literal["off", "daily"] = "off"
    """Whether this service updates the mirror after each of arXiv's announcements."""
    source: SearchSource = "auto"
    """What answers searches: arXiv, with the mirror in its place if possible; only one of them."""
    interval: Seconds = 3.0
    """Seconds from the end of one request to arXiv to the start of the next."""
    timeout: Annotated[float, Meta(gt=0, le=600)] = 30.0
    """Timeout of a request to arXiv, in seconds."""
    max_wait: Seconds = 60.0
    """Longest wait of a search for the rate limiter, in seconds."""
    cooldown: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """Seconds without requests after arXiv rejects one without Retry-After; doubles each time."""
    cache: Literal["on", "off"] = "on"
    """Whether to answer searches from recorded ones until arXiv publishes new papers."""
    contact: str | None = None
    """E-mail address sent to arXiv in the User-Agent header."""
    max_results: Annotated[int, Meta(ge=1, le=MAX_RESULTS)] = 10
    """Default of the parameter `max_results`."""
    items_per_page: Annotated[int, Meta(ge=1, le=MAX_ITEMS_PER_PAGE)] = 10
    """Default of the parameter `items_per_page`."""
    timezone: str = "UTC"
    """IANA name or +HH:MM: zone of timestamps in responses, and of those without an offset."""
    settle: Seconds = 0.0
    """Read delay: readers leave out rows younger than this many seconds."""
    endpoints: str = "all"
    """What is served: all, frontend, backend, guarded, or names of endpoints."""
    backend_url: str | None = None
    """The backend of a frontend without a database; unset: this process has the database."""
    backend_token: Token | None = None
    """Token that the backend endpoints require, and that a frontend sends; unset: none."""
    backend_token_also: Token | None = None
    """Second token that is accepted, for replacing the first one."""
    api_keys: Literal["off", "optional", "required"] = "off"
    """Whether API clients send API keys."""
    anonymous_rate: str = "60/minute"
    """Quota of an address without a key, if keys are optional."""
    pages: Literal["on", "off"] = "on"
    """Whether to serve pages for browsers beside the frontend endpoints."""
    public_url: str | None = None
    """URL under which users reach the service, the base of links; unset: that of the request."""
    allowed_hosts: str | None = None
    """Accepted values of the Host header; unset: any."""
    cors_origins: str | None = None
    """Origins whose web pages may read responses; unset: none."""
    log_level: Literal["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR"] = "NOTICE"
    log_format: Literal["text", "json"] = "text"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the ARXIV_ variables; an empty one counts as unset.

        Raises ConfigurationError, which names the variable.
        """
        fields = {_get_variable(field): field for field in cls.__struct_fields__}
        ours = {name: value for name, value in env.items() if name.startswith(PREFIX) and value}
        if unknown := sorted(ours.keys() - fields.keys()):
            raise ConfigurationError(
                f"{unknown[0]}: unknown setting; remove or rename the variable"
            )
        types = get_type_hints(cls, include_extras=True)
        values = {fields[name]: _convert(name, ours[name], types[fields[name]]) for name in ours}
        try:
            return cls(**values)
        except ValueError as error:
            raise ConfigurationError(str(error)) from error

    def to_env(self) -> dict[str, str]:
        """Return the variables from which `from_env` reads these settings."""
        values = structs.asdict(self).items()
        return {_get_variable(name): str(value) for name, value in values if value is not None}

    def __post_init__(self) -> None:
        """Check what types cannot express. Raises ValueError."""
        for name, parse in (("timezone", timestamps.parse_zone), ("anonymous_rate", Rate.parse)):
            try:
                parse(getattr(self, name))
            except ValueError as error:
                raise ValueError(f"{_get_variable(name)}: {error}") from error
        _ = self.origins, self.hosts
        problems = chain(
            self._find_endpoint_problems(),
            self._find_problems(),
            self._find_frontend_problems(),
            self._find_queue_problems(),
        )
        if problem := next(problems, None):
            raise ValueError(problem)

    def _find_problems(self) -> Iterator[str]:
        if self.contact is not None and not _EMAIL.fullmatch(self.contact):
            yield "ARXIV_CONTACT: set it to an e-mail address such as you@example.org"
        for name in ("backend_token", "backend_token_also"):
            token = getattr(self, name)
            if token is not None and not _TOKEN.fullmatch(token):
                yield f"{_get_variable(name)}: use printable ASCII, without a space at either end"
        if self.public_url is not None:
            url = _parse_url("public_url", self.public_url)
            if url.path not in {"", "/"}:
                yield "ARXIV_PUBLIC_URL: remove the path; pages work at the root of a host only"
        for name in ("oai_url", "rss_url"):
            _parse_url(name, getattr(self, name))
            if self.sync == "daily":
                yield from self.find_interval_problems(name)
        yield from self.find_interval_problems("api_url")

    def find_interval_problems(self, name: str) -> Iterator[str]:
        """Yield why requests to the URL in this setting would follow each other too fast."""
        host = _parse_url(name, getattr(self, name)).raw_host.decode().rstrip(".").lower()
        if self.interval < MIN_INTERVAL and f".{host}".endswith(".arxiv.org"):
            yield (
                f"ARXIV_INTERVAL: arXiv requires {MIN_INTERVAL:g} seconds between requests; a"
                f" shorter interval is accepted only if {_get_variable(name)} does not point to"
                " arXiv"
            )

    def _find_endpoint_problems(self) -> Iterator[str]:
        if not self.served:
            yield f"ARXIV_ENDPOINTS: {GUARDED!r} serves nothing without ARXIV_BACKEND_TOKEN; set it"
        unprotected = self.served & {*ENDPOINTS["backend"]}
        if unprotected and not self.backend_may_be_served:
            yield (
                f"ARXIV_ENDPOINTS: {min(unprotected)} does not accept API keys; with"
                " ARXIV_API_KEYS, set ARXIV_BACKEND_TOKEN, or remove the endpoint"
            )

    def _find_frontend_problems(self) -> Iterator[str]:
        if self.backend_url is None:
            return
        if _parse_url("backend_url", self.backend_url).userinfo:
            yield "ARXIV_BACKEND_URL: remove the user name and password; set ARXIV_BACKEND_TOKEN"
        if names := [name for name in self.to_env() if "_DATABASE_" in name]:
            yield (
                "ARXIV_BACKEND_URL: a frontend has no database; unset ARXIV_BACKEND_URL, or"
                f" {' and '.join(names)}"
            )
        if backend_endpoints := self.served.difference(ENDPOINTS["frontend"]):
            yield (
                f"ARXIV_ENDPOINTS: {min(backend_endpoints)} needs a database, which an instance"
                " with ARXIV_BACKEND_URL does not have; remove it"
            )

    def _find_queue_problems(self) -> Iterator[str]:
        if self.queue_url is None:
            return
        if not _is_amqp(self.queue_url):
            # the message omits the value, which contains a password
            yield "ARXIV_QUEUE_URL: use amqp://user:password@host/vhost, or amqps:// for TLS"
        if self.database_url is None:
            # service and queue worker would each start an embedded one
            yield (
                "ARXIV_QUEUE_URL: set ARXIV_DATABASE_URL too, to the same value for all services"
                " and queue workers: they store the searches of the queue in that database"
            )

    def check_exposure(self) -> None:
        """Raise ConfigurationError if other machines could use backend endpoints without a token.

        Not part of the validation, since it may look up the host.
        """
        if self.tokens or not self.served & {*ENDPOINTS["backend"]}:
            return
        try:
            is_protected = is_loopback(self.host)
        except (OSError, UnicodeError) as error:
            raise ConfigurationError(
                f"ARXIV_HOST: {self.host!r} is not a host to listen on: use a name, or an address"
                " without port and brackets"
            ) from error
        if not is_protected:
            raise ConfigurationError(
                f"ARXIV_HOST: other machines can reach {self.host}, and the backend endpoints"
                " require no token: set ARXIV_BACKEND_TOKEN, or ARXIV_ENDPOINTS=frontend"
            )

    @property
    def served(self) -> frozenset[str]:
        """The names of the endpoints this instance serves."""
        known = sorted(chain(*ENDPOINTS.values()))
        all_served = self.backend_url is None and self.backend_may_be_served
        groups = {
            "all": known if all_served else ENDPOINTS["frontend"],
            **ENDPOINTS,
            GUARDED: ENDPOINTS["backend"] if self.tokens else (),
            **{name: (name,) for name in known},
        }
        names = [item.strip().removeprefix("/") for item in self.endpoints.split(",")]
        if unknown := [name for name in names if name not in groups]:
            choices = ", ".join(groups)
            raise ValueError(f"ARXIV_ENDPOINTS: {unknown[0]!r} is not one of {choices}")
        return frozenset(chain(*(groups[name] for name in names)))

    @property
    def tokens(self) -> tuple[str, ...]:
        """Tokens that the backend endpoints accept; empty: they require none."""
        return tuple(filter(None, (self.backend_token, self.backend_token_also)))

    @property
    def backend_may_be_served(self) -> bool:
        """Whether the backend endpoints cannot be used to bypass API keys."""
        return self.api_keys == "off" or bool(self.tokens)

    @property
    def serves_pages(self) -> bool:
        """Whether this instance serves pages: they show what all frontend endpoints return."""
        return self.pages == "on" and self.served.issuperset(ENDPOINTS["frontend"])

    @property
    def searches_papers(self) -> bool:
        """Whether this instance needs a search index of its own."""
        return self.backend_url is None and bool(self.served & {"papers", "read-archive"})

    @property
    def only_reads(self) -> bool:
        """Whether there is only a URL to read from."""
        return self.database_url is None and self.database_ro_url is not None

    @property
    def hosts(self) -> frozenset[str]:
        """Accepted hosts in lower case, without ports; empty: any."""
        if self.allowed_hosts is None:
            return frozenset()
        return frozenset(map(_parse_host, self.allowed_hosts.lower().split(",")))

    @property
    def origins(self) -> frozenset[str]:
        """Origins whose pages may read responses, as browsers send them; `*` stands for any."""
        if self.cors_origins is None:
            return frozenset()
        origins = [item.strip() for item in self.cors_origins.lower().split(",")]
        for origin in origins:
            if not _ORIGIN.fullmatch(origin) and origins != ["*"]:
                raise ValueError(
                    f"ARXIV_CORS_ORIGINS: {origin!r} is not an origin: use * alone, or scheme and"
                    " host without a path, such as https://example.org, separated by commas"
                )
        # browsers omit the default port
        return frozenset(
            origin.removesuffix(":443" if origin.startswith("https:") else ":80")
            for origin in origins
        )

    @property
    def zone(self) -> tzinfo:
        """The time zone of timestamps without an offset."""
        return timestamps.parse_zone(self.timezone)

    @property
    def data_path(self) -> Path:
        """Absolute path of the directory of the embedded PostgreSQL."""
        return Path(self.data_dir).expanduser().resolve()

    @property
    def index_path(self) -> Path:
        """Absolute path of the directory of the search index."""
        return (
            Path(self.index_dir).expanduser().resolve()
            if self.index_dir
            else self.data_path / "index"
        )


def _get_variable(field: str) -> str:
    return f"{PREFIX}{field.upper()}"


def _convert(variable: str, text: str, field_type: Any) -> Any:  # noqa: ANN401 - of any field
    if get_origin(field_type) is Literal and text not in get_args(field_type):
        choices = " or ".join(get_args(field_type))
        raise ConfigurationError(f"{variable}: {text!r} is not valid: set it to {choices}")
    try:
        return convert(text, field_type, strict=False)
    except ValidationError as error:
        raise ConfigurationError(f"{variable}: {error}") from error


def _parse_host(text: str) -> str:
    """Return the host as it appears in a Host header, without port and brackets."""
    host = text.strip()
    if _HOST.fullmatch(host):
        return host
    try:
        return str(IPv6Address(re.sub(r"^\[(.*)\]$", r"\1", host)))
    except ValueError:
        raise ValueError(
            f"ARXIV_ALLOWED_HOSTS: {host!r} is not a host: use names or addresses without ports, or"
            " *.example.org, separated by commas"
        ) from None


def _parse_url(name: str, text: str) -> httpx.URL:
    try:
        url = httpx.URL(text)
        usable = url.scheme in {"http", "https"} and url.host and (url.port or 0) < 2**16
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable or url.query or url.fragment:
        # the message omits the URL, which may contain a password
        raise ValueError(f"{_get_variable(name)}: use an http or https URL without a query")
    return url


def _is_amqp(queue_url: str) -> bool:
    try:
        url = urlsplit(queue_url)
        return url.scheme in {"amqp", "amqps"} and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        return False


def is_loopback(host: str) -> bool:
    """Check all addresses of a host to listen on. Raises OSError or UnicodeError without any."""
    infos = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = [ip_address(str(sockaddr[0])) for *_, sockaddr in infos]
    # ::ffff:127.0.0.1 is the IPv6 form of 127.0.0.1
    return all((getattr(ip, "ipv4_mapped", None) or ip).is_loopback for ip in addresses)
