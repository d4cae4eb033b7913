"""The venue's web server while it stops."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest
from starlette.types import Receive, Scope, Send

from polyframe.venue.server import EmbeddedServer
from polyframe.venue.settings import VenueSettings


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve nobody."""


@pytest.mark.parametrize("rounds", range(8))
def test_who_connects_while_it_stops_is_let_go(rounds: int) -> None:
    """No connection is left open, in whatever round of the loop it came."""
    clients: list[socket.socket] = []

    async def main() -> None:
        server = EmbeddedServer(nothing, "127.0.0.1", 0, VenueSettings())
        port = await server.start()

        def connect() -> None:
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            clients.append(client)

        connect()
        stopping = asyncio.create_task(server.stop())
        for _ in range(rounds):
            await asyncio.sleep(0)
            connect()
        async with asyncio.timeout(30):
            await stopping

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    for client in clients:
        client.close()
    assert [str(warning.message) for warning in caught] == []
