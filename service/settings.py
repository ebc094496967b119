"""What a deployment may change: one frozen struct, read once from the environment."""

import os
import re
from collections.abc import Mapping
from datetime import tzinfo
from ipaddress import IPv6Address
from pathlib import Path
from typing import Annotated, Literal, Self, get_args, get_type_hints
from urllib.parse import urlsplit

import httpx
from msgspec import Meta, Struct, ValidationError, convert

from . import timestamps
from .api_keys import Rate
from .errors import ConfigurationError
from .models.arxiv import MAX_RESULTS
from .models.filters import MAX_ITEMS_PER_PAGE

PREFIX = "ARXIV_"
MIN_INTERVAL = 3.0
"""Seconds between requests to arXiv: https://info.arxiv.org/help/api/tou.html."""
Port = Annotated[int, Meta(ge=0, le=65_535)]
Seconds = Annotated[float, Meta(ge=0, le=86_400)]
Token = Annotated[str, Meta(min_length=16, max_length=1000)]
ENDPOINTS = {
    "frontend": ("arxiv", "queries", "results", "papers"),
    "backend": (
        "arxiv-api",
        "get-sequence",
        "write-queries",
        "write-results",
        "read-queries",
        "read-results",
        "find-answer",
        "find-results",
        "read-archive",
        "find-keys",
    ),
}
GUARDED = "guarded"
"""Stands for the backend endpoints where there is a token for them, and for nothing where not."""

READING = frozenset(
    {"queries", "results", "papers", "read-queries", "read-results", "read-archive", "find-keys"}
)
"""The endpoints that write nothing, and do not ask arXiv."""

_TOKEN = re.compile(r"[!-~]([ -~]*[!-~])?")
_ORIGIN = re.compile(r"https?://([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_HOST = re.compile(r"(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*")
_BRACKETS = re.compile(r"^\[(.*)\]$")
_EMAIL = re.compile(r"[^\s@()<>]+@[^\s@()<>]+")


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every setting; the environment variable is ARXIV_ and the name in capitals."""

    host: str = "127.0.0.1"
    port: Port = 8000
    database_url: str | None = None
    """PostgreSQL as libpq understands it (URL or key=value); unset: embedded in `data_dir`."""
    database_ro_url: str | None = None
    """Where reads go; unset: `database_url`. Alone it is enough for endpoints that only read."""
    results_database_url: str | None = None
    """Where results and papers live; unset: `database_url`."""
    results_database_ro_url: str | None = None
    """Where they are read; unset: the one above, or if that is unset too, `database_ro_url`."""
    sequence_database_url: str | None = None
    """Where the numbers of searches come from; unset: `database_url`."""
    queue_url: str | None = None
    """RabbitMQ, through which searches are recorded; unset: they are written directly."""
    data_dir: str = "./data"
    """Folder of the embedded PostgreSQL."""
    api_url: str = "https://export.arxiv.org/api/query"
    interval: Seconds = 3.0
    """Seconds from the end of one request to arXiv to the start of the next (arXiv's terms: 3)."""
    timeout: Annotated[float, Meta(gt=0, le=600)] = 30.0
    """Seconds arXiv may take for one whole answer."""
    max_wait: Seconds = 60.0
    """Seconds a search may wait for its turn at arXiv."""
    cooldown: Annotated[float, Meta(gt=0, le=86_400)] = 60.0
    """Seconds without requests once arXiv refuses one without a Retry-After; doubled each time."""
    cache: Literal["on", "off"] = "on"
    """Whether recorded searches answer later ones, until arXiv's answers change."""
    contact: str | None = None
    """E-mail address in the User-Agent, so that arXiv can write before it blocks."""
    max_results: Annotated[int, Meta(ge=1, le=MAX_RESULTS)] = 10
    """Default of the parameter `max_results`."""
    items_per_page: Annotated[int, Meta(ge=1, le=MAX_ITEMS_PER_PAGE)] = 10
    """Default of the parameter `items_per_page`."""
    timezone: str = "UTC"
    """IANA name or +HH:MM: zone of timestamps without an offset, and of those answered."""
    settle: Seconds = 0.0
    """Readers leave out rows younger than this many seconds."""
    endpoints: str = "all"
    """What is served: all, frontend, backend, guarded, or names with commas."""
    backend_url: str | None = None
    """Where a frontend asks for what it has no database for; unset: in this process."""
    backend_token: Token | None = None
    """What the backend endpoints ask for in `Authorization: Bearer`, and a frontend sends; unset:
    they are open."""
    backend_token_also: Token | None = None
    """Accepted like `backend_token`, while that is being changed."""
    api_keys: Literal["off", "optional", "required"] = "off"
    """Whether consumers must, or may, send an API key."""
    anonymous_rate: str = "60/minute"
    """How often a client without a key may ask, where keys are optional."""
    allowed_hosts: str | None = None
    """The names the service answers to, with commas; unset: to any."""
    cors_origins: str | None = None
    """Whose web pages may read the answers: * or origins with commas; unset: only our own."""
    log_level: Literal["DEBUG", "INFO", "NOTICE", "WARNING", "ERROR"] = "NOTICE"
    log_format: Literal["text", "json"] = "text"

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Read the ARXIV_ variables; an empty one counts as unset.

        Raises NotConfigured, naming the variable, for an unknown name or a value out of bounds.
        """
        fields = {f"{PREFIX}{field.upper()}": field for field in cls.__struct_fields__}
        ours = {name: value for name, value in env.items() if name.startswith(PREFIX) and value}
        if unknown := sorted(ours.keys() - fields.keys()):
            raise ConfigurationError(f"{unknown[0]}: there is no such setting")
        try:
            return convert({fields[name]: ours[name] for name in ours}, cls, strict=False)
        except ValidationError as error:
            reason, _, field = str(error).partition(" - at `$.")
            field = field.rstrip("`")
            name = f"{PREFIX}{field.upper()}: " if field else ""
            words = get_args(get_type_hints(cls).get(field))
            if words and "enum" in reason:
                reason += f": give {' or '.join(map(str, words))}"
            raise ConfigurationError(f"{name}{reason}") from error

    def __post_init__(self) -> None:
        """Check what no type can say. Raises ValueError, which msgspec turns into its own."""
        try:
            timestamps.parse_zone(self.timezone)
        except ValueError as error:
            raise ValueError(f"ARXIV_TIMEZONE: {error}") from error
        if self.contact is not None and not (
            # it becomes part of a header
            self.contact.isascii() and self.contact.isprintable() and _EMAIL.fullmatch(self.contact)
        ):
            raise ValueError("ARXIV_CONTACT: give an e-mail address like you@example.org")
        for name in ("backend_token", "backend_token_also"):
            token = getattr(self, name)
            if token is None or _TOKEN.fullmatch(token):
                continue
            raise ValueError(
                f"{PREFIX}{name.upper()}: give printable ASCII, without a space at either end"
            )
        host = _url("api_url", self.api_url).raw_host.decode()
        if self.interval < MIN_INTERVAL and _is_arxiv(host):
            raise ValueError(
                f"ARXIV_INTERVAL: arXiv asks for {MIN_INTERVAL:g} seconds between requests; less"
                " is possible only with an ARXIV_API_URL that is not arXiv's"
            )
        try:
            Rate.parse(self.anonymous_rate)
        except ValueError as error:
            raise ValueError(f"ARXIV_ANONYMOUS_RATE: {error}") from error
        _ = self.served, self.origins, self.hosts
        if self.backend_url is not None:
            self._check_frontend(self.backend_url)
        if self.queue_url is not None:
            self._check_queue(self.queue_url)

    def _check_queue(self, queue_url: str) -> None:
        if not _is_amqp(queue_url):
            # it is not repeated: it holds a password
            raise ValueError(
                "ARXIV_QUEUE_URL: give amqp://user:password@host/vhost, or amqps:// for TLS"
            )
        if self.database_url is None:
            # who asks and who writes would each start an embedded one
            raise ValueError(
                "ARXIV_QUEUE_URL: what waits there goes into ARXIV_DATABASE_URL: set it too, the"
                " same for every instance and every writer"
            )

    def _check_frontend(self, backend_url: str) -> None:
        if _url("backend_url", backend_url).userinfo:
            raise ValueError("ARXIV_BACKEND_URL: the password is ARXIV_BACKEND_TOKEN's task")
        if named := [
            f"{PREFIX}{name.upper()}"
            for name in self.__struct_fields__
            if "database" in name and getattr(self, name) is not None
        ]:
            raise ValueError(
                f"ARXIV_BACKEND_URL: a frontend has no database: unset this one, or"
                f" {' and '.join(named)}"
            )
        if others := sorted(self.served.difference(ENDPOINTS["frontend"])):
            raise ValueError(
                f"ARXIV_ENDPOINTS: {others[0]} needs the database, and a frontend with"
                " ARXIV_BACKEND_URL has none"
            )

    @property
    def served(self) -> frozenset[str]:
        """The names of the endpoints this instance serves."""
        known = {name for names in ENDPOINTS.values() for name in names}
        served: set[str] = set()
        for word in self.endpoints.split(","):
            name = word.strip().removeprefix("/")
            if name == "all":
                all_served = self.backend_url is None and self.backend_may_be_served
                served.update(known if all_served else ENDPOINTS["frontend"])
            elif name in ENDPOINTS:
                served.update(ENDPOINTS[name])
            elif name == GUARDED:
                served.update(ENDPOINTS["backend"] if self.tokens else ())
            elif name in known:
                served.add(name)
            else:
                groups = ", ".join(["all", *ENDPOINTS, GUARDED, *sorted(known)])
                raise ValueError(f"ARXIV_ENDPOINTS: {name!r} is none of {groups}")
        if not served:
            raise ValueError("ARXIV_ENDPOINTS: nothing is left without ARXIV_BACKEND_TOKEN")
        if not self.backend_may_be_served and (open_to_all := served & {*ENDPOINTS["backend"]}):
            raise ValueError(
                f"ARXIV_ENDPOINTS: with ARXIV_API_KEYS, {min(open_to_all)} needs"
                " ARXIV_BACKEND_TOKEN: it takes no API key"
            )
        return frozenset(served)

    @property
    def tokens(self) -> tuple[str, ...]:
        """What opens the backend endpoints; empty: they are open."""
        return tuple(each for each in (self.backend_token, self.backend_token_also) if each)

    @property
    def backend_may_be_served(self) -> bool:
        """Whether the backend endpoints are no way around API keys, which they do not take."""
        return self.api_keys == "off" or bool(self.tokens)

    @property
    def only_reads(self) -> bool:
        """Whether there is only a URL to read from."""
        return self.database_url is None and self.database_ro_url is not None

    @property
    def rate(self) -> Rate:
        """How often a client without a key may ask."""
        return Rate.parse(self.anonymous_rate)

    @property
    def hosts(self) -> frozenset[str]:
        """The names the service answers to, small, without ports; none: to any."""
        if self.allowed_hosts is None:
            return frozenset()
        return frozenset(_allowed(word.strip().lower()) for word in self.allowed_hosts.split(","))

    @property
    def origins(self) -> frozenset[str]:
        """The origins whose pages may read the answers, as browsers write them; `*` is any."""
        if self.cors_origins is None:
            return frozenset()
        words = [word.strip().lower() for word in self.cors_origins.split(",")]
        for word in words:
            if not _ORIGIN.fullmatch(word) and words != ["*"]:
                raise ValueError(
                    f"ARXIV_CORS_ORIGINS: {word!r} is no origin: give * alone, or scheme and host"
                    " without a path, like https://example.org, several with commas"
                )
        # browsers leave the default port out
        return frozenset(
            word.removesuffix(":443" if word.startswith("https:") else ":80") for word in words
        )

    @property
    def zone(self) -> tzinfo:
        """The time zone of timestamps without an offset."""
        return timestamps.parse_zone(self.timezone)

    @property
    def data_path(self) -> Path:
        """The folder of the embedded PostgreSQL, absolute."""
        return Path(self.data_dir).expanduser().resolve()


def _allowed(word: str) -> str:
    """A name or an address as the Host header has it, without port and brackets."""
    if _HOST.fullmatch(word):
        return word
    try:
        return str(IPv6Address(_BRACKETS.sub(r"\1", word)))
    except ValueError:
        raise ValueError(
            f"ARXIV_ALLOWED_HOSTS: {word!r} is no host: give names or addresses without ports, or"
            " *.example.org, several with commas"
        ) from None


def _url(name: str, text: str) -> httpx.URL:
    """The address, as the client of it reads it. Raises ValueError for what cannot be asked."""
    try:
        url = httpx.URL(text)
        usable = url.scheme in {"http", "https"} and url.host and (url.port or 0) < 2**16
    except (httpx.InvalidURL, UnicodeError):
        usable = False
    if not usable or url.query or url.fragment:
        # the URL is not repeated: it may hold a password
        raise ValueError(f"{PREFIX}{name.upper()}: give an http or https URL without a query")
    return url


def _is_amqp(queue_url: str) -> bool:
    try:
        url = urlsplit(queue_url)
        return url.scheme in {"amqp", "amqps"} and bool(url.hostname) and (url.port or 1) > 0
    except ValueError:
        return False


def _is_arxiv(host: str) -> bool:
    """Whether requests to this host reach arXiv itself."""
    name = host.rstrip(".").lower()
    return name == "arxiv.org" or name.endswith(".arxiv.org")
