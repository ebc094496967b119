"""Takes the screenshots of docs/images. Only `make screenshots` runs it."""

import pytest

from tests.browser.conftest import WIDE, Visit
from tests.support.process import ROOT

FOLDER = ROOT / "docs" / "images"
PATHS = {
    "home": "/",
    "search": "/search?q=testing",
    "paper": "/abs/math/0406001",
    "new": "/new",
}
PHONE = 390


@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("width", [WIDE, PHONE])
def test_screenshot_is_saved(visit: Visit, name: str, width: int) -> None:
    page = visit(PATHS[name], width, color_scheme="light")
    page.screenshot(path=FOLDER / f"{name}-{width}.png", animations="disabled")
