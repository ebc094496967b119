"""`/find-keys`: which API keys count, for frontends that have no database to ask."""

from typing import Annotated

from litestar import post
from litestar.di import NamedDependency

from ... import openapi
from ...context import LocalContext
from ...models.requests import ApiKeysRequest
from ...models.responses import ApiKeyInfo

WANTED = ApiKeysRequest(
    digests=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]
)
FOUND = ApiKeyInfo(digest=WANTED.digests[0], name="team-a", quota=600, seconds=60)
RESPONSES = openapi.answer([FOUND]) | openapi.BACKEND_PROBLEMS | openapi.BODY_PROBLEMS


@post("/find-keys", status_code=200, responses=RESPONSES, tags=["backend"])
async def find_keys(
    context: NamedDependency[LocalContext],
    data: Annotated[ApiKeysRequest, openapi.body(WANTED)],
) -> list[ApiKeyInfo]:
    """Those keys that count, of those with these digests (SHA-256)."""
    found = await context.api_key_store.find([bytes.fromhex(digest) for digest in data.digests])
    return [
        ApiKeyInfo(
            digest=digest.hex(), name=key.name, quota=key.rate.quota, seconds=key.rate.seconds
        )
        for digest, key in found.items()
    ]
