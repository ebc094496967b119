"""What tests of the pages for browsers share."""

import re

import httpx
from lxml import html

BROWSER = {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
KEY_COOKIE, FORM_COOKIE = "arxiv-gateway-session", "arxiv-gateway-csrf"


def parse(response: httpx.Response) -> html.HtmlElement:
    """Return the document of a page."""
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    return html.document_fromstring(response.text)


def read_form(response: httpx.Response, action: str) -> dict[str, str]:
    """Return the fields of the form in a page that is sent to this path."""
    [form] = [form for form in parse(response).forms if form.action == action]
    return {name: value or "" for name, value in form.form_values()}


def select(element: html.HtmlElement, path: str) -> list[html.HtmlElement]:
    """Return the elements of an XPath in this one; `.name` after a tag is a class."""
    classes = r"[contains(concat(' ', normalize-space(@class), ' '), ' \1 ')]"
    return list(element.xpath(".//" + re.sub(r"(?<=[a-z*])\.([a-z-]+)", classes, path)))


def read_texts(element: html.HtmlElement, path: str) -> list[str]:
    """Return the texts of the elements of an XPath, with single spaces."""
    return [" ".join(each.text_content().split()) for each in select(element, path)]


def read_links(page: html.HtmlElement) -> dict[str, str]:
    """Return the targets of the links in the content of a page by their text."""
    links = select(page, "main//a[@href]")
    return {" ".join(link.text_content().split()): link.get("href") for link in links}
