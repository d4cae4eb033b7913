"""Gamma: shapes, quirks and the life of a row (PROTOCOL §1)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polyframe.model.market import Outcome
from tests.venue.support import PERIOD, START, ScriptedSource, make_market, open_venue, run

SAMPLES = Path(__file__).parents[3] / "shared" / "protocol_samples"


def test_a_row_has_the_recorded_shape() -> None:
    """Every field that we send has the type that the recorded object has there."""
    path = SAMPLES / "gamma_market_btc_updown_5m.json"
    if not path.exists():
        pytest.skip("the recorded messages are not next to this repository")
    recorded = json.loads(path.read_text())

    async def test() -> None:
        async with open_venue() as client:
            row = (await client.gamma(f"/markets/slug/{client.market.slug}")).json()
        added_since = {"feeSchedule", "version"}
        for name in row.keys() - added_since:
            assert type(row[name]) is type(recorded[name]), name
        event, recorded_event = row["events"][0], recorded["events"][0]
        for name, value in event.items():
            assert type(value) is type(recorded_event[name]), name

    run(test)


def test_a_row_says_what_the_market_is() -> None:
    """JSON text inside strings, the window in eventStartTime, another time in startDate."""

    async def test() -> None:
        async with open_venue() as client:
            row = (await client.gamma(f"/markets/slug/{client.market.slug}")).json()
            assert json.loads(row["outcomes"]) == ["Up", "Down"]
            assert json.loads(row["clobTokenIds"]) == list(client.market.tokens)
            assert row["conditionId"] == client.market.condition_id
            assert row["eventStartTime"] == row["events"][0]["startTime"] == "2026-09-28T09:00:00Z"
            assert row["endDate"] == "2026-09-28T09:15:00Z"
            assert row["startDate"].startswith("2026-09-27T09:01:09.")
            assert (row["orderPriceMinTickSize"], row["orderMinSize"]) == (0.01, 5)
            assert row["feeSchedule"]["rate"] == 0.07
            assert row["acceptingOrders"]
            assert row["active"]
            assert not row["closed"]

    run(test)


def test_lists_and_events() -> None:
    """The list form gives an array, empty if nothing is found; an event carries its market."""

    async def test() -> None:
        async with open_venue() as client:
            slug = client.market.slug
            found = (await client.gamma("/markets", slug=[slug, "btc-updown-15m-900"])).json()
            assert [row["slug"] for row in found] == [slug]
            assert (await client.gamma("/markets", slug="btc-updown-15m-900")).json() == []
            event = (await client.gamma(f"/events/slug/{slug}")).json()
            assert event["slug"] == event["markets"][0]["slug"] == slug
            assert (await client.gamma("/events", slug=slug)).json()[0]["slug"] == slug

    run(test)


def test_absent_markets_are_404() -> None:
    """A slug that does not exist is 404, also as an event."""

    async def test() -> None:
        async with open_venue() as client:
            for path in ("/markets/slug/btc-updown-15m-900", "/events/slug/nothing"):
                answer = await client.gamma(path)
                assert answer.status_code == 404
                assert answer.json()["error"] == "slug not found"

    run(test)


def test_a_market_is_minted_ahead_of_its_window() -> None:
    """404 until `mint_ahead` seconds before the window, there from then on."""

    async def test() -> None:
        async with open_venue(now=START - 601, mint_ahead=600.0) as client:
            path = f"/markets/slug/{client.market.slug}"
            assert (await client.gamma(path)).status_code == 404
            await client.clock.advance(1)
            assert (await client.gamma(path)).status_code == 200

    run(test)


def test_hydration() -> None:
    """During hydration Gamma has no token ids, the CLOB knows nothing and takes no orders."""

    async def test() -> None:
        async with open_venue(now=START - 600, mint_ahead=600.0, hydration=120.0) as client:
            path = f"/markets/slug/{client.market.slug}"
            assert (await client.gamma(path)).json()["clobTokenIds"] == "[]"
            missing = await client.clob(f"/markets/{client.market.condition_id}")
            assert (missing.status_code, missing.json()) == (404, {"error": "market not found"})
            assert (await client.clob("/book", token_id=client.up)).status_code == 404
            assert await client.refused("BUY", "0.40", "10") == (
                400,
                "the market is not yet ready to process new orders",
            )
            await client.clock.advance(120)
            row = (await client.gamma(path)).json()
            assert json.loads(row["clobTokenIds"]) == list(client.market.tokens)
            answer = await client.clob(f"/markets/{client.market.condition_id}")
            assert answer.status_code == 200

    run(test)


@pytest.mark.parametrize(
    ("winner", "prices"), [(Outcome.UP, ["1", "0"]), (Outcome.DOWN, ["0", "1"])]
)
def test_a_row_ends_in_two_steps(winner: Outcome, prices: list[str]) -> None:
    """At the end it takes no orders; `resolve_after` later it is closed and says who won."""

    async def test() -> None:
        async with open_venue(source=ScriptedSource(winner=winner)) as client:
            path = f"/markets/slug/{client.market.slug}"

            async def row() -> Any:
                return (await client.gamma(path)).json()

            await client.clock.advance(PERIOD)
            ended = await row()
            assert not ended["acceptingOrders"]
            assert not ended["closed"]
            assert "umaResolutionStatus" not in ended
            await client.clock.advance(60)
            resolved = await row()
            assert resolved["closed"]
            assert resolved["umaResolutionStatus"] == "resolved"
            assert json.loads(resolved["outcomePrices"]) == prices
            assert resolved["closedTime"] == "2026-09-28 09:16:00+00"
            tokens = (await client.clob(f"/markets/{client.market.condition_id}")).json()["tokens"]
            assert {t["outcome"]: t["winner"] for t in tokens} == {
                "Up": winner is Outcome.UP,
                "Down": winner is Outcome.DOWN,
            }

    run(test)


def test_lists_leave_closed_markets_out_unless_asked() -> None:
    """A resolved market is only in the list with closed=true."""

    async def test() -> None:
        async with open_venue(now=START + PERIOD + 60) as client:
            slug = client.market.slug
            assert (await client.gamma("/markets", slug=slug)).json() == []
            assert len((await client.gamma("/markets", slug=slug, closed="true")).json()) == 1
            assert (await client.gamma(f"/markets/slug/{slug}")).status_code == 200

    run(test)


def test_a_hidden_market_is_404_until_its_time() -> None:
    """`hide_market` hides one slug from Gamma, for ever or until a time."""
    second = make_market(START + PERIOD)

    async def test() -> None:
        async with open_venue(source=ScriptedSource(markets=[make_market(), second])) as client:
            path = f"/markets/slug/{client.market.slug}"
            client.venue.hide_market(client.market.slug, until=START + 30)
            client.venue.hide_market(second.slug)
            assert (await client.gamma(path)).status_code == 404
            await client.clock.advance(30)
            assert (await client.gamma(path)).status_code == 200
            assert (await client.gamma(f"/markets/slug/{second.slug}")).status_code == 404

    run(test)
