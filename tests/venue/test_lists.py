"""Lists of markets at the CLOB and at Gamma, several prices at once, history (PROTOCOL §1.1, §2.1)."""

from __future__ import annotations

from typing import Any

import pytest

from polyframe.model.market import Outcome
from polyframe.venue import VenueMarket
from tests.venue.support import (
    BOOK,
    PERIOD,
    START,
    ScriptedSource,
    make_market,
    open_venue,
    run,
    snapshot,
    trade_print,
)

MANY = [make_market(START + PERIOD * number) for number in range(-3, 4)]


def many() -> ScriptedSource:
    """Return a source with seven markets, three of them over."""
    return ScriptedSource([BOOK], markets=MANY)


# ------------------------------------------------------------------ CLOB


def test_prices_of_several_tokens() -> None:
    """Each answers for the tokens that exist: by token, in text, mirrored for Down."""

    async def test() -> None:
        async with open_venue([BOOK, trade_print(1, "BUY", 52, 5)]) as client:
            wanted: Any = [{"token_id": client.up}, {"token_id": client.down}, {"token_id": "7"}, 3]

            async def ask(path: str, body: Any = wanted) -> Any:
                answer = await client.http.post(f"{client.venue.url}/clob{path}", json=body)
                return answer.json()

            assert await ask("/midpoints") == {client.up: "0.5", client.down: "0.5"}
            assert await ask("/spreads") == {client.up: "0.04", client.down: "0.04"}
            both = {"BUY": "0.48", "SELL": "0.52"}
            assert await ask("/prices") == {client.up: both, client.down: both}
            sides = [
                {"token_id": client.up, "side": "BUY"},
                {"token_id": client.down, "side": "SELL"},
            ]
            assert await ask("/prices", sides) == {
                client.up: {"BUY": "0.48"},
                client.down: {"SELL": "0.52"},
            }
            assert await ask("/last-trades-prices") == []
            async with client.market_feed():
                await client.clock.advance(1)
            rows = await ask("/last-trades-prices")
            assert rows == [
                {"token_id": client.up, "price": "0.52", "side": "BUY"},
                {"token_id": client.down, "price": "0.48", "side": "SELL"},
            ]

    run(test)


@pytest.mark.parametrize(
    "path", ["/books", "/prices", "/midpoints", "/spreads", "/last-trades-prices"]
)
def test_lists_in_bodies_are_checked(path: str) -> None:
    """Too many entries, or no list, are an invalid payload; entries that are none are left out."""

    async def test() -> None:
        async with open_venue() as client:
            url = f"{client.venue.url}/clob{path}"
            bodies: list[Any] = [{}, [{"token_id": "1"}] * 501]
            for body in bodies:
                answer = await client.http.post(url, json=body)
                assert (answer.status_code, answer.json()) == (
                    400,
                    {"error": "Invalid order payload"},
                )
            answer = await client.http.post(url, json=[5, None, {"token_id": 5}, {}])
            assert answer.json() in ([], {})

    run(test)


def test_markets_come_in_pages() -> None:
    """All that are minted, the old ones too; sampling lists only those that trade."""

    async def test() -> None:
        async with open_venue(source=many(), mint_ahead=PERIOD * 2) as client:

            async def rows(path: str) -> list[dict[str, Any]]:
                envelope = (await client.clob(path)).json()
                assert envelope["next_cursor"] == "LTE="
                assert envelope["count"] == len(envelope["data"])
                return list(envelope["data"])

            listed = await rows("/markets")
            assert [row["market_slug"] for row in listed] == [m.slug for m in MANY[:6]]
            assert [row["closed"] for row in listed] == [True, True, False, False, False, False]
            one = (await client.clob(f"/markets/{listed[3]['condition_id']}")).json()
            assert one == listed[3]
            assert [row["market_slug"] for row in await rows("/sampling-markets")] == [
                market.slug for market in MANY[3:6]
            ]
            names = {"condition_id", "tokens", "active", "closed", "archived", "accepting_orders"}
            for path, count in (("/simplified-markets", 6), ("/sampling-simplified-markets", 3)):
                short = await rows(path)
                assert len(short) == count
                assert set(short[0]) == names
            assert (await client.clob("/markets", next_cursor="?")).status_code == 400

    run(test)


def test_lists_do_not_ask_who_won_more_than_once() -> None:
    """A made-up winner takes a while: each is asked for once, and only for rows that are shown."""

    async def test() -> None:
        source = many()
        asked: list[str] = []
        real = source.winner

        def counted(market: VenueMarket) -> Outcome:
            asked.append(market.slug)
            return real(market)

        source.winner = counted  # type: ignore[method-assign]
        async with open_venue(source=source, mint_ahead=PERIOD * 2) as client:
            await client.gamma("/markets")
            assert asked == []
            for _ in range(2):
                await client.clob("/markets")
                await client.gamma("/markets", closed="true")
            assert asked == [MANY[0].slug, MANY[1].slug]

    run(test)


def test_old_markets_leave_the_lists() -> None:
    """After a day and an hour they are no longer listed; by their id they are still found."""

    async def test() -> None:
        async with open_venue(source=many(), mint_ahead=PERIOD * 2) as client:
            assert len((await client.clob("/markets")).json()["data"]) == 6
            await client.clock.advance(90_000 - PERIOD)
            listed = [row["market_slug"] for row in (await client.clob("/markets")).json()["data"]]
            assert listed == [market.slug for market in MANY[2:]]
            assert (await client.clob(f"/markets/{MANY[0].condition_id}")).status_code == 200

    run(test)


def test_parameters_have_two_forms_of_path() -> None:
    """The token in the query or in the path, and a legacy fee of 0."""

    async def test() -> None:
        async with open_venue() as client:
            for name, answer in (
                ("tick-size", {"minimum_tick_size": 0.01}),
                ("neg-risk", {"neg_risk": False}),
                ("fee-rate", {"base_fee": 0}),
            ):
                assert (await client.clob(f"/{name}", token_id=client.up)).json() == answer
                assert (await client.clob(f"/{name}/{client.up}")).json() == answer
                assert (await client.clob(f"/{name}/5")).status_code == 404

    run(test)


def test_a_history_may_be_of_the_last_hour() -> None:
    """An interval counts back from the present, or from the end of the market."""
    market = make_market(START // 14_400 * 14_400, period="4h")
    script = [snapshot(market.start - START + 600 * n, {40: 10}, {50: 10}) for n in range(30)]

    async def test() -> None:
        source = ScriptedSource(script, markets=[market])
        async with open_venue(source=source, now=market.start + 10_000) as client:
            ask = {"market": client.up, "fidelity": "10"}
            every = (await client.clob("/prices-history", **ask)).json()["history"]
            hour = (await client.clob("/prices-history", **ask, interval="1h")).json()["history"]
            assert len(every) == 17
            assert hour == every[-6:]
            params = {"token_id": client.up, "bucket_seconds": "600", "interval": "1h"}
            url = f"{client.venue.url}/data-api/v2/prices-history"
            rows = (await client.http.get(url, params=params)).json()["data"]
            assert [row["timestamp"] for row in rows] == [point["t"] for point in hour]

    run(test)


def test_history_is_what_the_source_had() -> None:
    """A midpoint a minute, mirrored for Down, bounded in number and by the present."""
    script = [snapshot(60 * n, {40 + n: 10}, {50 + n: 10}) for n in range(10)]

    async def test() -> None:
        async with open_venue(script, now=START + 200) as client:

            async def history(token: str, **options: str) -> list[tuple[int, float]]:
                answer = await client.clob("/prices-history", market=token, **options)
                return [(point["t"] - START, point["p"]) for point in answer.json()["history"]]

            assert await history(client.up) == [(0, 0.45), (60, 0.46), (120, 0.47), (180, 0.48)]
            assert await history(client.down, startTs=str(START + 120)) == [
                (120, 0.53),
                (180, 0.52),
            ]
            assert await history(client.up, fidelity="2") == [(0, 0.45), (120, 0.47)]
            assert await history(client.up, interval="1h") == await history(client.up)
            assert await history(client.up, interval="max") == await history(client.up)
            assert await history(client.up, endTs=str(START + 60)) == [(0, 0.45), (60, 0.46)]
            for options in ({"market": "7"}, {"market": client.up, "startTs": "soon"}):
                answer = await client.clob("/prices-history", **options)
                assert answer.status_code in {400, 404}
            fees = (await client.clob("/fees/builder-fees/abc")).json()
            assert fees == {"builder_maker_fee_rate_bps": 0, "builder_taker_fee_rate_bps": 0}

    run(test)


# ------------------------------------------------------------------ Gamma


def test_gamma_filters() -> None:
    """By id of market or token, by series and tag; closed ones only on request."""

    async def test() -> None:
        async with open_venue(source=many(), mint_ahead=PERIOD * 2) as client:

            async def slugs(path: str = "/markets", **options: Any) -> list[str]:
                return [row["slug"] for row in (await client.gamma(path, **options)).json()]

            open_ones = [market.slug for market in MANY[2:6]]
            assert await slugs() == open_ones
            assert await slugs("/events") == open_ones
            assert await slugs(closed="true") == [market.slug for market in MANY[:2]]
            assert await slugs(limit="2", offset="1") == open_ones[1:3]
            third = MANY[2]
            assert await slugs(condition_ids=third.condition_id) == [third.slug]
            assert await slugs(clob_token_ids=third.tokens[1]) == [third.slug]
            assert await slugs(id=third.row_id) == [third.slug]
            assert await slugs("/events", series_id="10192") == open_ones
            assert await slugs("/events", series_id="1") == []
            assert await slugs("/events", tag_slug="up-or-down") == open_ones
            assert await slugs("/events", tag_slug="politics") == []
            one = (await client.gamma(f"/markets/{third.row_id}")).json()
            assert one["slug"] == third.slug
            event = (await client.gamma(f"/events/{third.row_id}")).json()
            assert event["markets"][0]["slug"] == third.slug
            assert (await client.gamma("/markets/1")).status_code == 404

    run(test)


@pytest.mark.parametrize("name", ["markets", "events"])
def test_keyset_pages_are_complete(name: str) -> None:
    """Page by page every open market once; the last page has no cursor."""

    async def test() -> None:
        async with open_venue(source=many(), mint_ahead=PERIOD * 2) as client:
            found: list[str] = []
            cursor = ""
            for _ in range(10):
                page = (
                    await client.gamma(f"/{name}/keyset", limit="3", after_cursor=cursor)
                ).json()
                found += [row["slug"] for row in page[name]]
                cursor = page.get("next_cursor", "")
                if not cursor:
                    break
            assert found == [market.slug for market in MANY[2:6]]

    run(test)


def test_series_and_search() -> None:
    """The series of what is listed, by slug and id; search looks at slugs and questions."""

    async def test() -> None:
        async with open_venue(source=many()) as client:
            slug = "btc-up-or-down-15m"
            (series,) = (await client.gamma("/series", slug=slug)).json()
            assert (series["id"], series["recurrence"]) == ("10192", "15m")
            assert (await client.gamma("/series")).json() == [series]
            assert (await client.gamma("/series/10192")).json() == series
            assert (await client.gamma("/series/5")).status_code == 404
            assert (await client.gamma("/series", slug="other")).json() == []
            wanted = MANY[3].slug
            for words in (wanted, f"bitcoin {wanted[-10:]}"):
                hits = (await client.gamma("/public-search", q=words)).json()["events"]
                assert [hit["slug"] for hit in hits] == [wanted]

    run(test)
