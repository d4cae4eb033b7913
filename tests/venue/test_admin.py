"""Faults and interventions over HTTP: who may, and what comes back."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from starlette.requests import Request

from polyframe.venue.admin import AdminApi
from tests.venue.support import Client, open_venue, run, snapshot

FAR = snapshot(0, {10: 100}, {90: 100})


async def _admin(client: Client, method: str, path: str, body: Any = None, **headers: str) -> Any:
    sent = {"X-Venue-Token": client.venue.admin_token, **headers}
    url = f"{client.venue.url}/admin{path}"
    content = b"" if body is None else json.dumps(body).encode()
    return await client.http.request(method, url, content=content, headers=sent)


def test_faults_can_be_injected_over_http() -> None:
    """Injected, listed with their strikes, and cleared; requests of the admin are spared."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            wanted = {"kind": "http_error", "count": 2, "status": 425, "body": "restart"}
            answer = await _admin(client, "POST", "/faults", wanted)
            assert answer.status_code == 200, answer.text
            assert (await client.clob("/ok")).status_code == 425
            listed = (await _admin(client, "GET", "/faults")).json()
            assert listed["happened"] == {"http_error": 1}
            assert [(f["kind"], f["hits"], f["status"]) for f in listed["active"]] == [
                ("http_error", 1, 425)
            ]
            assert (await _admin(client, "DELETE", "/faults")).json() == {}
            assert (await client.clob("/ok")).status_code == 200

    run(test)


def test_interventions_over_http() -> None:
    """Orders are filled and withdrawn, frames sent, the tick refined, connections dropped."""

    async def test() -> None:
        async with open_venue([FAR]) as client, client.market_feed() as feed:
            await feed.next()
            first, second = [(await client.place("BUY", "0.40", "10"))["orderID"] for _ in range(2)]
            await feed.rest()
            for path, body, answer in (
                ("/fill-order", {"order_id": first, "shares": "4"}, {"filled": "4"}),
                ("/fill-order", {"order_id": first}, {"filled": "6"}),
                ("/withdraw-order", {"order_id": second}, {"withdrawn": True}),
                ("/refine-tick", {"slug": client.market.slug}, {"refined": True}),
                ("/send-raw", {"kind": "market", "text": "[]"}, {"connections": 1}),
                ("/drop-connections", {"kind": "all"}, {"connections": 1}),
            ):
                response = await _admin(client, "POST", path, body)
                assert Decimal(str(response.json().get("filled", 0))) == Decimal(
                    str(answer.get("filled", 0))
                )
                assert response.json().keys() == answer.keys()
                assert response.status_code == 200
            assert (await client.row(second))["status"] == "INVALID"

    run(test)


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/faults", {"kind": "earthquake", "count": 1}, "kind"),
        ("/faults", {"count": 1}, "kind"),
        ("/faults", {"kind": "user_drop", "count": "many"}, "count"),
        ("/faults", {"kind": "user_drop", "count": 1, "self": 1}, "self"),
        ("/faults", [1], "body"),
        ("/fill-order", {"order_id": "0x", "shares": "much"}, "shares"),
        ("/fill-order", {"order_id": 7}, "order_id"),
        ("/withdraw-order", {}, "order_id"),
        ("/drop-connections", {"kind": "both"}, "kind"),
        ("/refine-tick", {"slug": "x", "tick": 1}, "tick"),
    ],
)
def test_nonsense_over_http_is_refused(path: str, body: Any, field: str) -> None:
    """400 with a text that begins with the field."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            answer = await _admin(client, "POST", path, body)
            assert answer.status_code == 400
            assert answer.json()["error"].startswith(f"{field}: ")

    run(test)


@pytest.mark.parametrize(
    ("open_to_all", "headers", "status"),
    [
        (False, {"X-Venue-Token": "wrong"}, 404),
        (False, {"X-Venue-Token": ""}, 404),
        (False, {}, 200),
        (False, {"Origin": "http://evil.example"}, 404),
        (True, {"X-Venue-Token": ""}, 200),
        (True, {"Origin": "http://evil.example"}, 404),
    ],
)
def test_who_may_intervene(open_to_all: bool, headers: dict[str, str], status: int) -> None:
    """Who sends the token, or everybody here if the setting says so, but no page in a browser."""

    async def test() -> None:
        async with open_venue([FAR], admin=open_to_all) as client:
            assert (await _admin(client, "GET", "/faults", **headers)).status_code == status
            assert client.venue.admin_token not in repr(client.venue)

    run(test)


@pytest.mark.parametrize(
    ("host", "status"), [("127.0.0.1", 200), ("::1", 200), ("10.0.0.7", 404), ("no address", 404)]
)
def test_other_machines_may_not_intervene(host: str, status: int) -> None:
    """Not even with the token, where a venue can be reached from elsewhere."""

    async def test() -> None:
        async with open_venue([FAR], admin=True) as client:
            token = (b"x-venue-token", client.venue.admin_token.encode())
            scope: dict[str, Any] = {
                "type": "http",
                "method": "GET",
                "path": "/admin/faults",
                "query_string": b"",
                "headers": [token],
                "client": (host, 1),
            }
            (answer,) = [
                route.endpoint
                for route in AdminApi(client.venue, client.venue.settings).routes()
                if route.path == "/admin/faults" and "GET" in (route.methods or ())
            ]

            async def receive() -> dict[str, Any]:
                return {"type": "http.request", "body": b"", "more_body": False}

            assert (await answer(Request(scope, receive))).status_code == status

    run(test)
