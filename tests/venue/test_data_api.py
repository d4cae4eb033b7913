"""Positions, trades and activity over the Data API (PROTOCOL §7.1, §7.2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from polyframe.venue import VenueAccount
from tests.venue.support import START, Client, open_venue, run, snapshot
from tests.venue.test_accounts import funded

SAMPLES = Path(__file__).parents[3] / "shared" / "protocol_samples"
FAR = snapshot(0, {10: 100}, {90: 100})
WALLET = "0x" + "7c" * 20


async def ask(client: Client, path: str, **query: str) -> Any:
    """Ask the Data API for the first account, unless told otherwise."""
    query.setdefault("user", client.account.funder)
    answer = await client.http.get(f"{client.venue.url}/data-api{path}", params=query)
    return answer.json()


async def trades(maker: Client, taker: Client) -> None:
    """Let the taker buy 20 Up at 0.40 and 0.50, and sell 15 at 0.60; all are mined."""
    await maker.place("SELL", "0.40", "10")
    await maker.place("SELL", "0.50", "10")
    await taker.place("BUY", "0.50", "20")
    await maker.place("BUY", "0.60", "15")
    await taker.place("SELL", "0.60", "15")
    await taker.clock.advance(3)


def test_positions_are_what_trades_made_of_them() -> None:
    """Size, average price, cost, realised and unrealised gain, in both versions."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50")) as maker:
            taker = maker.other()
            await trades(maker, taker)
            (position,) = (await ask(taker, "/v2/positions"))["data"]
            assert position["token_id"] == taker.up
            assert (position["current_size"], position["total_size"]) == (5, 20)
            assert (position["avg_price"], position["entry_cost_usdc"]) == (0.45, 2.25)
            # 15 sold for 9 USD less the fee of 0.252, bought for 6.75
            assert position["realized_pnl"] == pytest.approx(1.998)
            assert position["current_price"] == 0.5
            assert position["current_value"] == 2.5
            assert position["unrealized_pnl"] == pytest.approx(0.25)
            assert (position["status"], position["redeemable"]) == ("OPEN", False)
            (old,) = await ask(taker, "/positions", sizeThreshold="0")
            assert (old["asset"], old["size"], old["avgPrice"]) == (taker.up, 5, 0.45)
            assert old["oppositeAsset"] == taker.down
            assert (old["outcome"], old["outcomeIndex"]) == ("Up", 0)
            assert (await ask(taker, "/value"))[0]["value"] == 2.5
            assert (await ask(taker, "/v2/value"))["data"]["value"] == 2.5

    run(test)


def test_small_positions_are_left_out_by_default() -> None:
    """SizeThreshold is 1 unless it is said; other filters leave out what they say."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50")) as maker:
            taker = maker.other()
            await maker.place("SELL", "0.40", "10")
            await taker.place("BUY", "0.40", "10")
            await taker.place("SELL", "0.10", "9.5", order_type="FAK")
            await taker.clock.advance(3)
            assert await ask(taker, "/positions") == []
            (small,) = await ask(taker, "/positions", sizeThreshold="0")
            assert small["size"] == 0.5
            for filters in ({"redeemable": "true"}, {"mergeable": "true"}, {"market": "0x1"}):
                assert await ask(taker, "/positions", sizeThreshold="0", **filters) == []
            await taker.place("BUY", "0.90", "10", token=taker.down)
            await taker.clock.advance(3)
            both = await ask(taker, "/positions", sizeThreshold="0", mergeable="true")
            assert {row["outcome"] for row in both} == {"Up", "Down"}

    run(test)


def test_the_chain_comes_later_than_the_match() -> None:
    """A trade and its position are shown when it is mined, not before."""

    async def test() -> None:
        async with open_venue([FAR], mined_after=2.0) as client:
            await client.place("BUY", "0.90", "10")
            for path in ("/v2/trades", "/v2/positions", "/v2/activity"):
                assert (await ask(client, path))["data"] == []
            await client.clock.advance(2)
            for path in ("/v2/trades", "/v2/positions", "/v2/activity"):
                assert len((await ask(client, path))["data"]) == 1

    run(test)


def test_trades_are_fills_of_the_wallet() -> None:
    """Each part with its own side and price; takerOnly is on by default in the old version."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50")) as maker:
            taker = maker.other()
            await trades(maker, taker)
            rows = await ask(taker, "/trades")
            assert [(r["side"], r["size"], r["price"]) for r in rows] == [
                ("SELL", 15, 0.6),
                ("BUY", 10, 0.4),
                ("BUY", 10, 0.5),
            ]
            assert await ask(maker, "/trades") == []
            made = await ask(maker, "/trades", takerOnly="false")
            assert [r["side"] for r in made] == ["BUY", "SELL", "SELL"]
            assert len((await ask(maker, "/v2/trades"))["data"]) == 3
            assert (await ask(maker, "/v2/trades", taker_only="true"))["data"] == []
            assert len(await ask(taker, "/trades", side="BUY")) == 2
            assert await ask(taker, "/trades", limit="1", offset="1") == rows[1:2]

    run(test)


def test_a_redemption_is_an_activity_and_closes_the_position() -> None:
    """One row for each outcome; winners are paid, losers are not."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            await client.place("BUY", "0.90", "10")
            await client.place("BUY", "0.90", "20", token=client.down)
            await client.clock.advance(1_000)
            rows = await ask(client, "/activity", type="REDEEM")
            assert {(row["outcome"], row["size"], row["usdcSize"]) for row in rows} == {
                ("Up", 10, 10),
                ("Down", 20, 0),
            }
            kinds = [row["type"] for row in (await ask(client, "/v2/activity"))["data"]]
            assert kinds == ["REDEEM", "REDEEM", "TRADE", "TRADE"]
            up = (await ask(client, "/v2/activity", sort_direction="ASC"))["data"]
            assert [row["type"] for row in up] == kinds[::-1]
            closed = await ask(client, "/closed-positions")
            assert {row["outcome"]: row["realizedPnl"] for row in closed} == {"Up": 1, "Down": -18}
            rows = (await ask(client, "/v2/positions", status="CLOSED"))["data"]
            assert len(rows) == 2
            assert await ask(client, "/positions", sizeThreshold="0") == []
            condition = client.market.condition_id
            (end,) = (await ask(client, "/v2/resolutions", condition_id=condition))["data"]
            assert (end["status"], end["price"]) == ("resolved", "1")

    run(test)


def test_shares_that_are_not_redeemed_stay_redeemable() -> None:
    """With redemption switched off a resolved position waits, worth 1 or nothing."""

    async def test() -> None:
        async with open_venue([FAR], redeem=False) as client:
            await client.place("BUY", "0.90", "10")
            await client.place("BUY", "0.90", "20", token=client.down)
            await client.clock.advance(1_000)
            rows = (await ask(client, "/v2/positions", status="REDEEMABLE"))["data"]
            assert {row["outcome"]: row["current_value"] for row in rows} == {"Up": 10, "Down": 0}
            (lost,) = (await ask(client, "/v2/positions", status="REDEEMABLE_LOST"))["data"]
            assert lost["outcome"] == "Down"
            for status in ("OPEN", "MERGEABLE", "CLOSED"):
                assert (await ask(client, "/v2/positions", status=status))["data"] == []

    run(test)


def test_pages_of_the_second_version_are_complete() -> None:
    """The cursor leads through all rows; the last page has none."""

    async def test() -> None:
        async with open_venue([FAR], account=funded(up="50")) as maker:
            taker = maker.other()
            await trades(maker, taker)
            sizes, cursor = [], ""
            for _ in range(5):
                page = await ask(taker, "/v2/trades", limit="2", cursor=cursor)
                sizes += [row["size"] for row in page["data"]]
                cursor = page["pagination"]["next_cursor"]
                assert page["pagination"]["has_more"] is (cursor is not None)
                if cursor is None:
                    break
            assert sizes == [15, 10, 10]

    run(test)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/positions", {"user": ""}),
        ("/positions", {"user": "0x12"}),
        ("/positions", {"sizeThreshold": "x"}),
        ("/trades", {"limit": "-1"}),
        ("/activity", {"offset": "5001"}),
        ("/activity", {"start": "1e5"}),
        ("/v2/trades", {"cursor": "%"}),
    ],
)
def test_wrong_questions_are_refused(path: str, query: dict[str, str]) -> None:
    """A wallet must be named, numbers must be numbers, and offsets have a limit."""

    async def test() -> None:
        async with open_venue([FAR]) as client:
            answer = await ask(client, path, **query)
            assert set(answer) == {"error"}

    run(test)


def test_a_wallet_is_found_by_signer_and_by_funds() -> None:
    """Both addresses of an account give the same; a wallet that nobody knows is empty."""

    async def test() -> None:
        account = VenueAccount.random()
        account.funder = WALLET
        async with open_venue([FAR], account=account) as client:
            await client.place("BUY", "0.90", "10", signatureType=2, maker=WALLET)
            await client.clock.advance(3)
            by_funds = await ask(client, "/positions")
            assert by_funds[0]["proxyWallet"] == WALLET
            assert await ask(client, "/positions", user=account.address) == by_funds
            assert await ask(client, "/positions", user="0x" + "9" * 40) == []

    run(test)


@pytest.mark.parametrize(
    ("path", "sample"),
    [
        ("/positions", "data_v1_positions"),
        ("/trades", "data_v1_trades"),
        ("/v2/positions", "data_v2_positions"),
        ("/v2/trades", "data_v2_trades"),
        ("/v2/activity", "data_v2_activity"),
    ],
)
def test_rows_have_the_recorded_fields(path: str, sample: str) -> None:
    """Every field of the recorded rows that is about trading is there with its type."""
    file = SAMPLES / f"{sample}.json"
    if not file.exists():
        pytest.skip("the samples of the protocol are not beside the repository")
    recorded = json.loads(file.read_text())[0]

    async def test() -> None:
        async with open_venue([FAR]) as client:
            await client.place("BUY", "0.90", "10")
            await client.clock.advance(3)
            answer = await ask(client, path)
            row = (answer["data"] if isinstance(answer, dict) else answer)[0]
            for name, value in recorded.items():
                if name in {"icon", "event_id"}:
                    continue
                kinds = (int, float) if type(value) in {int, float} else type(value)
                assert isinstance(row[name], kinds), name

    run(test)


def test_the_history_of_a_price() -> None:
    """A midpoint for each bucket, in the terms of the token, or what it was at one instant."""
    script = [snapshot(60 * n, {40 + n: 10}, {50 + n: 10}) for n in range(10)]

    async def test() -> None:
        async with open_venue(script, now=START + 200) as client:

            async def history(**query: str) -> list[tuple[int, float, int]]:
                rows = (await ask(client, "/v2/prices-history", **query))["data"]
                return [(r["timestamp"] - START, r["price"], r["resolution_seconds"]) for r in rows]

            up = {"token_id": client.up}
            assert await history(**up, interval="1h") == [
                (0, 0.45, 60),
                (60, 0.46, 60),
                (120, 0.47, 60),
                (180, 0.48, 60),
            ]
            late = await history(token_id=client.down, start=str(START + 120), bucket_seconds="60")
            assert late == [(120, 0.53, 60), (180, 0.52, 60)]
            assert await history(**up, as_of=str(START + 70)) == [(70, 0.46, 0)]
            assert await history(**up, as_of=str(START + 7_000)) == [(200, 0.48, 0)]
            assert await history(token_id="7") == []

    run(test)
