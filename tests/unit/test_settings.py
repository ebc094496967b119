"""The environment variables: their defaults, their bounds, and what a wrong one is told."""

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

PASSWORD = "correct-horse-battery"  # noqa: S105 - guards nothing
ALL = {"arxiv", "queries", "results", "papers", "arxiv-api", "get-sequence"} | {
    f"{verb}-{noun}" for verb in ("read", "write") for noun in ("queries", "results")
}
ALL |= {"find-answer", "find-results", "read-archive", "find-keys"}


def read(**variables: str) -> Settings:
    """Settings from variables named without their prefix, in small letters."""
    return Settings.from_env({f"ARXIV_{name.upper()}": value for name, value in variables.items()})


def refusal(**variables: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        read(**variables)
    return refused.value.detail


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
    "api_url": "https://export.arxiv.org/api/query",
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
    "allowed_hosts": None,
    "cors_origins": None,
    "log_level": "NOTICE",
    "log_format": "text",
}


def test_an_empty_environment_gives_the_defaults() -> None:
    assert {name: getattr(read(), name) for name in Settings.__struct_fields__} == DEFAULTS


@pytest.mark.parametrize("name", DEFAULTS)
def test_an_empty_variable_counts_as_unset(name: str) -> None:
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
    ("api_url", "http://127.0.0.1:8800/api/query", "http://127.0.0.1:8800/api/query"),
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
    ("allowed_hosts", "example.org", "example.org"),
    ("cors_origins", "*", "*"),
    *(("log_level", level, level) for level in ("DEBUG", "INFO", "NOTICE", "WARNING", "ERROR")),
    *(("log_format", style, style) for style in ("text", "json")),
]


NEEDED = {"queue_url": {"database_url": "host=db"}}
"""What a setting cannot be without."""


@pytest.mark.parametrize(("name", "text", "value"), READ)
def test_a_variable_is_read_as_what_it_is(name: str, text: str, value: Any) -> None:
    settings = read(**NEEDED.get(name, {}) | {name: text})

    assert getattr(settings, name) == value
    assert type(getattr(settings, name)) is type(value)


@pytest.mark.parametrize(
    "others", [{}, {"database_ro_url": "host=db"}, {"backend_url": "http://backend"}]
)
def test_a_queue_is_nothing_without_the_database_that_its_searches_go_into(
    others: dict[str, str],
) -> None:
    with pytest.raises(ConfigurationError, match=r"ARXIV_QUEUE_URL: set ARXIV_DATABASE_URL too"):
        read(queue_url="amqp://mq/", **others)


def test_every_setting_is_read_from_its_variable() -> None:
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
def test_a_value_out_of_bounds_is_refused_with_the_variable_first(name: str, text: str) -> None:
    message = refusal(**{name: text})

    assert message.startswith(f"ARXIV_{name.upper()}: ")
    assert len(message) > len(f"ARXIV_{name.upper()}: ")


@pytest.mark.parametrize("name", ["HSOT", "DATABASE", "INTERVALL", "SERVED", "ZONE", "PREFIX", ""])
def test_an_unknown_variable_is_refused_by_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^ARXIV_{name}: unknown setting"):
        Settings.from_env({"ARXIV_HOST": "localhost", f"ARXIV_{name}": "x"})


def test_variables_of_other_programs_are_none_of_ours() -> None:
    others = {"PORT": "x", "PATH": "", "XARXIV_PORT": "x", "arxiv_port": "x", "ARXIVPORT": "x"}

    assert Settings.from_env(others) == read()


def test_the_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARXIV_PORT", "9999")

    assert Settings.from_env().port == 9999


@given(st.sampled_from(list(DEFAULTS)), st.text(max_size=40))
def test_any_value_is_read_or_refused_with_its_name(name: str, text: str) -> None:
    try:
        settings = read(**{name: text})
    except ConfigurationError as error:
        assert error.detail.startswith(f"ARXIV_{name.upper()}: ")  # noqa: PT017
    else:
        assert settings.served
        assert settings.zone


# How often arXiv may be asked

OF_ARXIV = [
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
OF_OTHERS = [
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


@pytest.mark.parametrize("url", OF_ARXIV)
@pytest.mark.parametrize("interval", ["0", "2.999", "-0.0", "1e-9"])
def test_arxiv_is_not_asked_more_often_than_its_terms_allow(url: str, interval: str) -> None:
    assert refusal(api_url=url, interval=interval).startswith("ARXIV_INTERVAL: ")


def test_the_rule_holds_for_the_default_url() -> None:
    assert refusal(interval="2").startswith("ARXIV_INTERVAL: ")


@pytest.mark.parametrize("url", OF_ARXIV)
def test_three_seconds_are_enough_for_arxiv(url: str) -> None:
    assert read(api_url=url, interval="3").interval == 3


@pytest.mark.parametrize("url", OF_OTHERS)
def test_another_server_may_be_asked_at_any_rate(url: str) -> None:
    assert read(api_url=url, interval="0").interval == 0


def test_the_rule_holds_for_settings_that_are_no_environment_too() -> None:
    with pytest.raises(ValueError, match="ARXIV_INTERVAL"):
        Settings(interval=0)


# What is served


@pytest.mark.parametrize(
    ("text", "served"),
    [
        ("all", ALL),
        ("frontend", {"arxiv", "queries", "results", "papers"}),
        ("backend", ALL - {"arxiv", "queries", "results", "papers"}),
        ("frontend,backend", ALL),
        ("arxiv", {"arxiv"}),
        ("/arxiv", {"arxiv"}),
        (" results , /get-sequence ", {"results", "get-sequence"}),
        ("frontend,read-queries", {"arxiv", "queries", "results", "papers", "read-queries"}),
        ("arxiv,arxiv,frontend", {"arxiv", "queries", "results", "papers"}),
        ("arxiv,all", ALL),
        ("arxiv,guarded", {"arxiv"}),
    ],
)
def test_endpoints_are_named_one_by_one_or_in_groups(text: str, served: set[str]) -> None:
    assert read(endpoints=text).served == served


def test_guarded_endpoints_are_served_with_a_token_alone() -> None:
    assert refusal(endpoints="guarded").startswith("ARXIV_ENDPOINTS: 'guarded' serves nothing")
    assert read(endpoints="arxiv,guarded", backend_token="x" * 16).served == (
        {"arxiv", *ENDPOINTS["backend"]}
    )


def test_an_unknown_endpoint_is_told_which_there_are() -> None:
    message = refusal(endpoints="arxiv,querys")

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
def test_a_url_to_read_from_alone_is_for_reading(urls: dict[str, str], *, only_reads: bool) -> None:
    assert read(**urls).only_reads is only_reads


# Whose pages may read


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
def test_origins_are_read_as_browsers_write_them(text: str, origins: set[str]) -> None:
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
def test_hosts_are_names_and_addresses_without_ports(text: str, hosts: set[str]) -> None:
    assert read(allowed_hosts=text).hosts == hosts


# What is made of settings


def test_the_zone_is_that_of_the_name() -> None:
    moment = datetime(2026, 7, 1, tzinfo=UTC)

    assert moment.astimezone(read(timezone="Europe/Berlin").zone).utcoffset() == timedelta(hours=2)
    assert moment.astimezone(read(timezone="-03:30").zone).utcoffset() == timedelta(hours=-3.5)


def test_the_data_folder_is_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")

    assert read(data_dir="x/../data").data_path == tmp_path / "data"
    assert read(data_dir="~/data").data_path == Path("/home/ada/data")


# Secrets


@pytest.mark.parametrize(
    ("name", "text"),
    [(name, text) for name, text in BAD if name not in {"backend_token", "api_url"}],
)
def test_no_message_shows_a_secret_of_another_variable(name: str, text: str) -> None:
    message = refusal(
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
def test_no_message_shows_a_wrong_token(token: str) -> None:
    message = refusal(backend_token=token)

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
def test_no_message_shows_a_password_in_the_url_of_arxiv(url: str) -> None:
    assert PASSWORD not in refusal(api_url=url, interval="0")


def test_the_program_ends_with_one_line_for_a_wrong_setting() -> None:
    ended = subprocess.run(
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

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == "python -m service: ARXIV_PORT: Expected `int`, got `str`\n"
