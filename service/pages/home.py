"""`/`: the search box, and where to go from it."""

from litestar import get
from litestar.response import Template

from ..problems import AnyRequest
from .page import PAGE, create_page


@get("/", opt=PAGE, include_in_schema=False)
async def show_home(request: AnyRequest) -> Template:
    """Return the start page."""
    return create_page(request, "home.html")
