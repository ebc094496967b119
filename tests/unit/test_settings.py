"""Settings: defaults, bounds, and the messages about invalid values."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ConfigurationError
from service.settings import ENDPOINTS, Settings

PASSWORD = "correct-horse-battery"  # noqa: S105 - not a real one
FRONTEND = {"arxiv", "api/query", "queries", "results", "papers", "announcements"}
ALL = (
    FRONTEND
    | {"arxiv-api", "get-sequence"}
    | {f"{verb}-{noun}" for verb in ("read", "write") for noun in ("queries", "results")}
)
ALL |= {"find-answer", "find-results", "find-entries", "read-archive", "find-keys"}
ALL |= {"find-signing-key"}


def read(**variables: str) -> Settings:
    """Read settings from variables, named in lower case without their prefix."""
    return Settings.from_env({f"ARXIV_{name.upper()}": value for name, value in variables.items()})


def rejection(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as error:
        read(**variables)
    return error.value.detail


DEFAULTS = {
    "host": "127.0.0.1",
    "port": 8000,
    "workers": 1,
    "database_url": None,
    "database_ro_url": None,
    "results_database_url": None,
    "results_database_ro_url": None,
    "sequence_database_url": None,
    "queue_url": None,
    "data_dir": "./data",
    "index_dir": None,
    "api_url": "https://export.arxiv.org/api/query",
    "oai_url": "https://oaipmh.arxiv.org/oai",
    "rss_url": "https://rss.arxiv.org",
    "sync": "off",
    "source": "auto",
    "interval": 3.0,
    "timeout": 30.0,
    "max_wait": 60.0,
    "cooldown": 60.0,
    "cache": "on",
    "contact": None,
    "max_results": 10,
    "items_per_page": 10,
    "timezone": "UTC",
    "settle": 0.0,
    "endpoints": "all",
    "backend_url": None,
    "backend_token": None,
    "backend_token_also": None,
    "api_keys": "off",
    "anonymous_rate": "60/minute",
    "pages": "on",
    "public_url": None,
    "allowed_hosts": None,
    "cors_origins": None,
    "log_level": "NOTICE",
    "log_format": "text",
}


def test_empty_environment_gives_the_defaults() -> None:
    assert {name: getattr(read(), name) for name in Settings.__struct_fields__} == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
def test_empty_variable_counts_as_unset(name: str) -> None:
    assert read(**{name: ""}) == read()


READ = [
    ("host", "0.0.0.0", "0.0.0.0"),  # noqa: S104
    ("port", "0", 0),
    ("port", "65535", 65_535),
    ("workers", "1", 1),
    ("workers", "256", 256),
    ("database_url", "postgresql://arxiv@db/arxiv", "postgresql://arxiv@db/arxiv"),
    ("database_url", "host=db dbname=5", "host=db dbname=5"),
    ("database_ro_url", "5", "5"),
    *((f"results_database{kind}_url", "host=a,b", "host=a,b") for kind in ("", "_ro")),
    ("sequence_database_url", "host=c", "host=c"),
    ("queue_url", "amqp://u:p@mq/arxiv", "amqp://u:p@mq/arxiv"),
    ("queue_url", "amqps://mq", "amqps://mq"),
    ("data_dir", "/srv/with a space", "/srv/with a space"),
    ("index_dir", "/srv/index", "/srv/index"),
    ("api_url", "http://127.0.0.1:8800/api/query", "http://127.0.0.1:8800/api/query"),
    ("oai_url", "http://127.0.0.1:8001/oai", "http://127.0.0.1:8001/oai"),
    ("rss_url", "http://127.0.0.1:8001", "http://127.0.0.1:8001"),
    ("sync", "daily", "daily"),
    ("source", "mirror", "mirror"),
    ("interval", "3", 3.0),
    ("interval", "4.5", 4.5),
    ("interval", "86400", 86_400.0),
    ("timeout", "0.1", 0.1),
    ("timeout", "600", 600.0),
    ("max_wait", "0", 0.0),
    ("max_wait", "86400", 86_400.0),
    ("cooldown", "0.5", 0.5),
    ("cache", "off", "off"),
    ("contact", "you@example.org", "you@example.org"),
    ("max_results", "1", 1),
    ("max_results", "2000", 2000),
    ("items_per_page", "1", 1),
    ("items_per_page", "1000", 1000),
    ("timezone", "Europe/Berlin", "Europe/Berlin"),
    ("timezone", "+05:30", "+05:30"),
    ("settle", "0.5", 0.5),
    ("endpoints", "frontend", "frontend"),
    ("backend_url", "https://backend:8001/below", "https://backend:8001/below"),
    ("backend_token", "0123456789abcdef", "0123456789abcdef"),
    ("backend_token", "x" * 1000, "x" * 1000),
    ("backend_token_also", "0123456789abcdef", "0123456789abcdef"),
    *(("api_keys", word, word) for word in ("off", "optional", "required")),
    ("anonymous_rate", "5/second", "5/second"),
    *(("pages", word, word) for word in ("on", "off")),
    ("public_url", "https://papers.example.org", "https://papers.example.org"),
    ("public_url", "http://example.org:8000/", "http://example.org:8000/"),
    ("allowed_hosts", "example.org", "example.org"),
    ("cors_origins", "*", "*"),
    *(("log_level", level, level) for level in ("DEBUG", "INFO", "NOTICE", "WARNING", "ERROR")),
    *(("log_format", style, style) for style in ("text", "json")),
]


REQUIRED = {"queue_url": {"database_url": "host=db"}}
"""Settings that another setting requires."""


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_variable_is_converted_to_its_type(name: str, text: str, value: Any) -> None:
    settings = read(**REQUIRED.get(name, {}) | {name: text})

    assert getattr(settings, name) == value
    assert type(getattr(settings, name)) is type(value)


@pytest.mark.parametrize(
    "others", [{}, {"database_ro_url": "host=db"}, {"backend_url": "http://backend"}]
)
def test_queue_requires_a_database_url(
    others: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationError, match=r"ARXIV_QUEUE_URL: set ARXIV_DATABASE_URL too"):
        read(queue_url="amqp://mq/", **others)


def test_every_setting_has_a_variable() -> None:
    assert {name for name, _, _ in READ} == set(Settings.__struct_fields__) == set(DEFAULTS)


BAD = [
    *(("queue_url", text) for text in ("mq", "http://mq/", "amqp:", "amqp://", "amqp://mq:x/")),
    *(("port", text) for text in ("-1", "65536", "http", "80.5", "8000 ", "0x1F", "8_000")),
    *(("workers", text) for text in ("0", "-1", "257", "1.5", "auto")),
    *(("interval", text) for text in ("-1", "86401", "nan", "inf", "three", "3s", "3,5", "1e9")),
    *(("timeout", text) for text in ("0", "-1", "601", "nan", "inf", "-inf", "1 0")),
    *(("max_wait", text) for text in ("-0.1", "86401", "nan", "inf", "forever")),
    *(("cooldown", text) for text in ("0", "-1", "86401", "nan", "soon")),
    *(("cache", text) for text in ("true", "1", "On", "yes")),
    *(("settle", text) for text in ("-1", "86401", "nan", "inf")),
    *(("max_results", text) for text in ("0", "2001", "-5", "ten", "1.5", "9" * 30)),
    *(("items_per_page", text) for text in ("0", "1001", "-5", "all")),
    *(("contact", text) for text in ("you", "@example.org", "you@", "a@b@c", "a b@c", "<a@b>")),
    *(("contact", text) for text in ("a@b\r\nX: y", "j\u00fcrgen@example.org", "a\x01@b", "(a)@b")),
    *(("timezone", text) for text in ("Berlin", "utc+1", "+25:00", "Europe", "/etc/passwd", " ")),
    *(("backend_token", text) for text in ("x", "x" * 15, "x" * 1001)),
    *(("backend_token", text) for text in ("p\u00e4ssw\u00f6rd-pass", " a space before it")),
    *(
        ("cors_origins", text)
        for text in ("example.org", "https://", "https://a.org/", "null", ",")
    ),
    *(("cors_origins", text) for text in ("https://a.org,", "*,https://a.org", "https://*.org")),
    *(
        ("cors_origins", text)
        for text in ("ftp://a.org", "https://u@a.org", "https://a.org:x", " ")
    ),
    *(("backend_url", text) for text in ("backend", "ftp://b", "http://b?x=1", "http://u:p@b")),
    *(("api_keys", text) for text in ("on", "Off", "true", "1")),
    *(("pages", text) for text in ("On", "true", "1", "required")),
    *(("public_url", text) for text in ("example.org", "ftp://e.org", "https://", "//e.org")),
    *(("public_url", text) for text in ("https://e.org?x=1", "https://e.org#x", "https://e:x/")),
    *(("anonymous_rate", text) for text in ("60", "0/minute", "1/week", "-1/day", "1 / day")),
    *(
        ("allowed_hosts", text)
        for text in ("*", "a.org:8000", "https://a.org", "a.*", ",", "a.org,")
    ),
    *(("allowed_hosts", text) for text in ("*.", "[::1", "a..org", "a b", "::g")),
    *(("log_level", text) for text in ("info", "NOTSET", "CRITICAL", "25", "verbose")),
    *(("log_format", text) for text in ("JSON", "xml", "logfmt")),
    *(("endpoints", text) for text in ("none", "arxiv,nothing", ",", "arxiv,", "ARXIV", "arxiv;")),
    *(("api_url", text) for text in ("arxiv", "//h/p", "ftp://h/p", "file:///etc/passwd", "http:")),
    *(("api_url", text) for text in ("http://", "http://h/p?q=1", "http://h/p#f", "http://[::1")),
    *(
        ("api_url", text)
        for text in ("http://h:x/", "http://h:65536/", " http://h/", "http://a\nb")
    ),
    *(("api_url", text) for text in ("http://\uff41rxiv.org/", "http://xn--arxiv-3ya.org/")),
]


@pytest.mark.parametrize(("name", "text"), BAD)
def test_invalid_value_is_rejected_with_the_name_of_the_variable(name: str, text: str) -> None:
    message = rejection(**{name: text})

    assert message.startswith(f"ARXIV_{name.upper()}: ")
    assert len(message) > len(f"ARXIV_{name.upper()}: ")


def test_choices_are_listed_for_an_invalid_one() -> None:
    assert (
        rejection(log_format="xml")
        == "ARXIV_LOG_FORMAT: 'xml' is not valid: set it to text or json"
    )


def test_reason_follows_the_name_of_the_variable() -> None:
    assert rejection(port="70000") == "ARXIV_PORT: Expected `int` <= 65535"


@pytest.mark.parametrize("name", ["HSOT", "DATABASE", "INTERVALL", "SERVED", "ZONE", "PREFIX", ""])
def test_unknown_variable_is_rejected(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^ARXIV_{name}: unknown setting"):
        Settings.from_env({"ARXIV_HOST": "localhost", f"ARXIV_{name}": "x"})


def test_variables_of_other_programs_are_ignored() -> None:
    others = {"PORT": "x", "PATH": "", "XARXIV_PORT": "x", "arxiv_port": "x", "ARXIVPORT": "x"}

    assert Settings.from_env(others) == read()


def test_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARXIV_PORT", "9999")

    assert Settings.from_env().port == 9999


@given(st.sampled_from(list(DEFAULTS)), st.text(max_size=40))
def test_any_value_is_accepted_or_rejected_with_the_name_of_the_variable(
    name: str, text: str
) -> None:
    try:
        settings = read(**{name: text})
    except ConfigurationError as error:
        assert error.detail.startswith(f"ARXIV_{name.upper()}: ")  # noqa: PT017
    else:
        assert settings.served
        assert settings.zone


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_variables_can_be_written_and_read_again(name: str, text: str, value: Any) -> None:
    del value
    settings = read(**REQUIRED.get(name, {}) | {name: text})

    assert Settings.from_env(settings.to_env()) == settings


# The interval between requests to arXiv

ARXIV_URLS = [
    *("http://arxiv.org/", "https://export.arxiv.org/api/query", "https://EXPORT.ARXIV.ORG./api"),
    *(
        "http://export.arxiv.org:80/api/query",
        "http://static.export.arxiv.org/",
        "HTTPS://arXiv.org",
    ),
    *(
        "http://someone@arxiv.org/",
        "http://someone:secret@export.arxiv.org/",
        "http://a.org@arxiv.org",
    ),
    *("http://127.0.0.1\\@arxiv.org/", "http://export\u3002arxiv\u3002org/api/query"),
]
OTHER_URLS = [
    *("http://notarxiv.org/", "http://arxiv.org.example.net/", "http://arxiv.example.org/"),
    *("http://arxiv.org@127.0.0.1/", "http://export.arxiv.org:80@127.0.0.1:8800/api/query"),
    *(
        "http://127.0.0.1:8800/arxiv.org",
        "http://[::1]:8800/",
        "http://localhost/",
        "http://arxiv/",
    ),
    *("http://10.0.0.7/api/query", "http://arxiv.org\\@localhost/", "http://xn--bcher-kva.org/"),
]


@pytest.mark.parametrize("url", ARXIV_URLS)
@pytest.mark.parametrize("interval", ["0", "2.999", "-0.0", "1e-9"])
def test_interval_below_the_terms_of_arxiv_is_rejected(url: str, interval: str) -> None:
    assert rejection(api_url=url, interval=interval).startswith("ARXIV_INTERVAL: ")


def test_short_interval_is_rejected_for_the_default_url() -> None:
    assert rejection(interval="2").startswith("ARXIV_INTERVAL: ")


@pytest.mark.parametrize("url", ARXIV_URLS)
def test_interval_of_three_seconds_is_accepted_for_arxiv(url: str) -> None:
    assert read(api_url=url, interval="3").interval == 3


@pytest.mark.parametrize("url", OTHER_URLS)
def test_any_interval_is_accepted_for_other_servers(url: str) -> None:
    assert read(api_url=url, interval="0").interval == 0


def test_short_interval_is_rejected_without_an_environment_too() -> None:
    with pytest.raises(ValueError, match="ARXIV_INTERVAL"):
        Settings(interval=0)


# Endpoints


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("all", ALL),
        ("frontend", FRONTEND),
        ("backend", ALL - FRONTEND),
        ("frontend,backend", ALL),
        ("arxiv", {"arxiv"}),
        ("/arxiv", {"arxiv"}),
        ("/api/query", {"api/query"}),
        (" results , /get-sequence ", {"results", "get-sequence"}),
        ("frontend,read-queries", FRONTEND | {"read-queries"}),
        ("arxiv,arxiv,frontend", FRONTEND),
        ("arxiv,all", ALL),
        ("arxiv,guarded", {"arxiv"}),
    ],
)
def test_endpoints_are_selected_by_name_or_group(text: str, served: set[str]) -> None:
    assert read(endpoints=text).served == served


def test_guarded_endpoints_require_a_token() -> None:
    assert rejection(endpoints="guarded").startswith("ARXIV_ENDPOINTS: 'guarded' serves nothing")
    assert read(endpoints="arxiv,guarded", backend_token="x" * 16).served == (
        {"arxiv", *ENDPOINTS["backend"]}
    )


def test_unknown_endpoint_is_rejected_with_the_known_ones() -> None:
    message = rejection(endpoints="arxiv,querys")

    assert "'querys'" in message
    for name in [*ALL, *ENDPOINTS, "all"]:
        assert name in message


@pytest.mark.parametrize(
    ("urls", "only_reads"),
    [
        ({}, False),
        ({"database_url": "a"}, False),
        ({"database_url": "a", "database_ro_url": "b"}, False),
        ({"database_ro_url": "b"}, True),
    ],
)
def test_instance_with_only_a_read_url_only_reads(
    urls: dict[str, str], *, only_reads: bool
) -> None:
    assert read(**urls).only_reads is only_reads


# Origins and hosts


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", set()),
        ("*", {"*"}),
        ("https://example.org", {"https://example.org"}),
        (" HTTPS://Example.ORG ,http://[::1]:8080", {"https://example.org", "http://[::1]:8080"}),
        ("https://a.org:443,http://b.org:80", {"https://a.org", "http://b.org"}),
        ("http://a.org:443", {"http://a.org:443"}),
    ],
)
def test_origins_are_normalized_as_browsers_send_them(text: str, origins: set[str]) -> None:
    assert read(cors_origins=text).origins == origins


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", set()),
        (
            " API.Example.org , *.example.org,localhost",
            {"api.example.org", "*.example.org", "localhost"},
        ),
        ("127.0.0.1,[::1],2001:DB8:0::1", {"127.0.0.1", "::1", "2001:db8::1"}),
    ],
)
def test_hosts_are_normalized(text: str, hosts: set[str]) -> None:
    assert read(allowed_hosts=text).hosts == hosts


# Derived values


def test_time_zone() -> None:
    moment = datetime(2026, 7, 1, tzinfo=UTC)

    assert moment.astimezone(read(timezone="Europe/Berlin").zone).utcoffset() == timedelta(hours=2)
    assert moment.astimezone(read(timezone="-03:30").zone).utcoffset() == timedelta(hours=-3.5)


def test_data_directory_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")

    assert read(data_dir="x/../data").data_path == tmp_path / "data"
    assert read(data_dir="~/data").data_path == Path("/home/ada/data")
    assert read(data_dir="x").index_path == tmp_path / "x" / "index"
    assert read(index_dir="x/../index").index_path == tmp_path / "index"
    assert read(index_dir="~/index").index_path == Path("/home/ada/index")


# Secrets


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, text in BAD if name not in {"backend_token", "api_url"}],
)
def test_messages_do_not_contain_secrets_of_other_variables(name: str, text: str) -> None:
    message = rejection(
        **{name: text},
        database_url=f"postgresql://arxiv:{PASSWORD}@db/arxiv",
        database_ro_url=f"host=db password={PASSWORD}",
        results_database_url=f"host=db password={PASSWORD}",
        results_database_ro_url=f"host=db password={PASSWORD}",
        sequence_database_url=f"host=db password={PASSWORD}",
        backend_token=PASSWORD,
    )

    assert PASSWORD not in message


@pytest.mark.parametrize("token", [PASSWORD[:15], PASSWORD * 60])
def test_messages_do_not_contain_invalid_tokens(token: str) -> None:
    message = rejection(backend_token=token)

    assert PASSWORD[:8] not in message


@pytest.mark.parametrize(
    "url",
    [
        f"ftp://user:{PASSWORD}@host/",
        f"http://user:{PASSWORD}@[::1",
        f"http://user:{PASSWORD}/x@host/",
        f"http://user:{PASSWORD}@host:99999/",
        f"http://user:{PASSWORD}@\uff41rxiv.org/",
        f"http://host/?key={PASSWORD}",
        f"http://user:{PASSWORD}@arxiv.org/",
    ],
)
def test_messages_do_not_contain_the_password_of_a_url(url: str) -> None:
    assert PASSWORD not in rejection(api_url=url, interval="0")


def test_invalid_setting_ends_the_program_with_one_line() -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "service", "serve"],
        env={
            "PATH": os.environ["PATH"],
            "ARXIV_PORT": "many",
            "ARXIV_DATABASE_URL": f"postgresql://arxiv:{PASSWORD}@db/arxiv",
        },
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert finished.returncode == 2
    assert finished.stdout == ""
    assert finished.stderr == "python -m service: ARXIV_PORT: Expected `int`, got `str`\n"


def test_public_url_has_no_path() -> None:
    assert Settings(public_url="https://example.org/").public_url
    with pytest.raises(ValueError, match="ARXIV_PUBLIC_URL"):
        Settings(public_url="https://example.org/arxiv")
