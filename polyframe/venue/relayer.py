"""The one question that clients put to the relayer before they trade (PROTOCOL §7.4)."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


def relayer_routes() -> list[Route]:
    """Return the routes below ``/relayer``.

    Wallet contracts need no deployment here: every one that is asked for counts as deployed.
    """
    return [Route("/relayer/deployed", _deployed)]


async def _deployed(_: Request) -> Response:
    return JSONResponse({"deployed": True})
