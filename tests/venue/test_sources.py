"""The sources: recorded markets as they were, synthetic ones for ever."""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from decimal import Decimal
from itertools import islice, pairwise

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect

from polyframe.errors import ConfigError
from polyframe.model.market import Outcome
from polyframe.venue import (
    LocalVenue,
    Print,
    ResolvedMarketsSource,
    SeveralSources,
    Snapshot,
    SyntheticSource,
)
from polyframe.venue.recorded import _inconsistency, _levels
from polyframe.venue.values import (
    derive_token,
    notional,
    price_text,
    size_shares,
    size_text,
)
from tests.venue.support import START, Feed, ManualClock, make_market, open_venue, run

INSTALLED = all(importlib.util.find_spec(name) for name in ("pyarrow", "resolvedkit"))
recorded = pytest.mark.skipif(
    not INSTALLED, reason="the recorded markets are not installed (pip install '.[data]')"
)


@pytest.fixture(scope="module")
def real() -> ResolvedMarketsSource:
    """Return the recorded markets, read once."""
    return ResolvedMarketsSource()


# ------------------------------------------------------------------ recorded


@recorded
def test_the_recorded_markets(real: ResolvedMarketsSource) -> None:
    """18 consecutive windows but one; the missing slug does not exist."""
    slugs = [market.slug for market in real.markets]
    assert len(slugs) == 18
    assert slugs[0] == "btc-updown-15m-1790586000"
    starts = [market.start for market in real.markets]
    assert [b - a for a, b in pairwise(starts)].count(900) == 16
    assert real.market("btc-updown-15m-1790595900") is None
    after = real.next_market(1790595001)
    assert after is not None
    assert after.start == 1790596800
    assert real.next_market(1790602201) is None


@recorded
def test_recorded_winners_are_the_payouts(real: ResolvedMarketsSource) -> None:
    """Down won the first three, Up the next."""
    winners = [real.winner(market) for market in real.markets[:4]]
    assert winners == [Outcome.DOWN, Outcome.DOWN, Outcome.DOWN, Outcome.UP]


@recorded
def test_recorded_books_are_exact_ordered_and_not_crossed(real: ResolvedMarketsSource) -> None:
    """Every row of a market becomes a usable snapshot in time order or is counted as skipped."""
    for market in real.markets[4:6]:
        before = sum(real.skipped.values())
        events = list(real.events(market, 0))
        skipped = sum(real.skipped.values()) - before
        assert len(events) + skipped == {1790589600: 2130, 1790590500: 2163}[market.start]
        assert skipped == (2 if market.start == 1790589600 else 0)
        assert [e.time_ms for e in events] == sorted(e.time_ms for e in events)
        assert events[0].time_ms < market.start * 1000
        for event in events:
            assert isinstance(event, Snapshot)
            assert all(0 < p < 10_000 and p % 10 == 0 for p in (*event.bids, *event.asks))
            assert all(s > 0 and s % 10_000 == 0 for s in (*event.bids.values(),))
            if event.bids and event.asks:
                assert max(event.bids) < min(event.asks)
    assert set(real.skipped) == {"crossed"}


@recorded
def test_a_recorded_replay_begins_at_the_latest_snapshot(real: ResolvedMarketsSource) -> None:
    """Asking for a time in the middle gives the last row before it, then the later ones."""
    market = real.markets[0]
    everything = list(real.events(market, 0))
    since = (market.start + 100) * 1000
    first, second = islice(real.events(market, since), 2)
    assert first.time_ms <= since < second.time_ms
    assert first in everything


@recorded
def test_recorded_rows_of_both_sides_make_one_book(real: ResolvedMarketsSource) -> None:
    """The row of Down, mirrored, says the same as the row of Up next to it."""
    events = list(real.events(real.markets[0], 0))
    first, second = events[:2]
    assert first.time_ms == second.time_ms == 1790585112649
    assert isinstance(first, Snapshot)
    assert isinstance(second, Snapshot)
    assert (first.bids, first.asks) == (second.bids, second.asks)
    assert first.bids[4900] == 514_990_000
    assert first.asks[5000] == 205_000_000


@recorded
def test_recorded_markets_are_served(real: ResolvedMarketsSource) -> None:
    """Over the wire: the missing market is 404, a real one has its book and its winner."""

    async def test() -> None:
        async with open_venue(source=real, now=START + 900 + 60 + 300) as client:
            assert (
                await client.gamma("/markets/slug/btc-updown-15m-1790595900")
            ).status_code == 404
            first = (await client.gamma("/markets/slug/btc-updown-15m-1790586000")).json()
            assert first["outcomePrices"] == '["0", "1"]'
            client.market = real.markets[1]
            row = (await client.gamma(f"/markets/slug/{client.market.slug}")).json()
            assert row["acceptingOrders"]
            async with client.market_feed() as feed:
                up, down = await feed.next()
                total = Decimal(up["asks"][-1]["price"]) + Decimal(down["asks"][-1]["price"])
                assert total > 1
                await client.clock.advance(20)
                kinds = {m["event_type"] for m in await feed.rest()}
                assert "price_change" in kinds
            assert client.venue.stats.skipped is real.skipped

    run(test)


def test_without_the_optional_packages_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """ConfigError with the command, for either package."""
    for name in ("pyarrow", "resolvedkit"):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            patch.setitem(sys.modules, f"{name}.parquet", None)
            with pytest.raises(ConfigError, match=re.escape("pip install '.[data]'")):
                ResolvedMarketsSource()


@pytest.mark.parametrize(
    ("prices", "sizes", "reason"),
    [
        ([0.49, 0.029], [1.9300000000000002, 205.0], ""),
        ([0.49000001], [1.0], "off_grid"),
        ([0.49], [1.00000001], "off_grid"),
        ([1.0], [1.0], "outside"),
        ([0.5], [0.0], "outside"),
        ([0.5], [-1.0], "outside"),
    ],
)
def test_doubles_become_exact_or_are_refused(
    prices: list[float], sizes: list[float], reason: str
) -> None:
    """A double is its nearest exact value if it is within 1e-9 of it, else it is not understood."""
    levels, why = _levels(prices, sizes)
    assert why == reason
    if not reason:
        assert levels == {4900: 1_930_000, 290: 205_000_000}


@pytest.mark.parametrize(
    ("bids", "asks", "reason"),
    [
        ({48: 1}, {52: 1}, ""),
        ({52: 1}, {52: 1}, "crossed"),
        ({}, {}, "empty"),
        ({98: 1}, {}, ""),
        ({}, {2: 1}, ""),
        ({60: 1}, {}, "one_sided"),
        ({}, {40: 1}, "one_sided"),
    ],
)
def test_inconsistent_books_are_named(
    bids: dict[int, int], asks: dict[int, int], reason: str
) -> None:
    """A missing side is only believed near the edge."""
    by_units = [{p * 100: s for p, s in side.items()} for side in (bids, asks)]
    assert _inconsistency(*by_units) == reason


# ------------------------------------------------------------------ synthetic


def test_a_synthetic_market_is_the_same_every_time() -> None:
    """Same seed and slug: same ids, same events, same winner, from any starting time."""
    one, two = (SyntheticSource("btc-updown-15m", 7) for _ in range(2))
    market = one.market("btc-updown-15m-1790586000")
    assert market is not None
    assert market == two.market(market.slug) == two.next_market(START - 1)
    events = list(one.events(market, 0))
    assert events == list(two.events(market, 0))
    assert one.winner(market) is two.winner(market)
    since = next(event.time_ms for event in events[700:] if isinstance(event, Print))
    late = list(two.events(market, since))
    assert isinstance(late[0], Snapshot)
    assert late[0].time_ms <= since
    # A print of the same time as the first snapshot is past, and does not come again.
    assert late[1:] == [event for event in events if event.time_ms > since]


def test_synthetic_markets_differ_by_seed_and_window() -> None:
    """Another seed or window is another market; both outcomes win about equally often."""
    one, two = SyntheticSource("eth-updown-5m", 1), SyntheticSource("eth-updown-5m", 2)
    first, other = one.next_market(START), two.next_market(START)
    assert first is not None
    assert other is not None
    assert first.condition_id != other.condition_id
    winners = []
    start = START
    for _ in range(60):
        market = one.next_market(start)
        assert market is not None
        winners.append(one.winner(market))
        start = market.end
    assert 15 < winners.count(Outcome.UP) < 45


def test_a_synthetic_market_is_a_market() -> None:
    """Books never cross, one to five updates a second, prints at the best price, an end that fits."""
    source = SyntheticSource("btc-updown-15m", 3)
    market = source.next_market(START)
    assert market is not None
    previous: Snapshot | None = None
    snapshots = prints = changed = total = 0
    fine = False
    for event in source.events(market, 0):
        if isinstance(event, Print):
            assert previous is not None
            assert event.time_ms == previous.time_ms
            levels = previous.asks if event.is_buy else previous.bids
            best = min(levels) if event.is_buy else max(levels)
            assert event.price == best
            assert 0 < event.size <= levels[best]
            prints += 1
            continue
        snapshots += 1
        assert event.bids
        assert event.asks
        assert max(event.bids) < min(event.asks)
        if any(price % 100 for price in event.bids):
            fine = True
        assert all(price % (10 if fine else 100) == 0 for price in (*event.bids, *event.asks))
        if previous is not None:
            assert 200 <= event.time_ms - previous.time_ms <= 1000
            total += len(event.bids)
            changed += sum(previous.bids.get(p) != s for p, s in event.bids.items())
        previous = event
    assert previous is not None
    assert snapshots > 1500
    assert 0.2 < prints / snapshots < 0.5
    assert changed / total < 0.4
    assert fine
    up_won = source.winner(market) is Outcome.UP
    assert (max(previous.bids) > 9_000) is up_won
    assert (min(previous.asks) < 1_000) is not up_won


def test_a_synthetic_series_has_all_windows_from_its_first_on() -> None:
    """Slugs off the grid, of other series or before the first window do not exist."""
    source = SyntheticSource("btc-updown-15m", first=START)
    assert source.market("btc-updown-15m-1790586001") is None
    assert source.market("eth-updown-15m-1790586000") is None
    assert source.market("nonsense") is None
    assert source.market(f"btc-updown-15m-{START - 900}") is None
    first = source.next_market(0)
    assert first is not None
    assert first.start == START
    with pytest.raises(ConfigError, match="first: expected"):
        SyntheticSource("btc-updown-15m", first=-1)
    with pytest.raises(ConfigError):
        SyntheticSource("bitcoin")


# ------------------------------------------------------------------ numbers


@settings(max_examples=300)
@given(st.integers(0, 10**15))
def test_size_text_is_exact_and_plain(size: int) -> None:
    """No exponent, no trailing zeros, and the same number back."""
    text = size_text(size)
    assert Decimal(text) == size_shares(size)
    assert re.fullmatch(r"\d+(\.\d*[1-9])?", text)


@given(st.integers(0, 10_000))
def test_price_text_is_exact_and_plain(units: int) -> None:
    """The same for prices."""
    text = price_text(units)
    assert Decimal(text) * 10_000 == units
    assert re.fullmatch(r"\d(\.\d*[1-9])?", text)


def test_made_up_tokens_look_like_real_ones() -> None:
    """77 or 78 digits, another for each outcome, always the same."""
    up, down = (derive_token("0x1", outcome) for outcome in Outcome)
    assert up != down
    assert up == derive_token("0x1", Outcome.UP)
    for number in range(200):
        token = derive_token(f"0x{number}", Outcome.UP)
        assert re.fullmatch(r"\d{77,78}", token)
        assert int(token) < 1 << 256


def test_notional_is_exact() -> None:
    """Price units times base units, in dollars."""
    assert notional(5_300, 7_250_000) == Decimal("3.8425")


# ------------------------------------------------------------------ several at once


def test_several_series_live_side_by_side() -> None:
    """Windows that begin together are all listed, announced, traded and resolved on their own."""
    names = ("btc-updown-15m", "eth-updown-15m", "eth-updown-5m")
    source = SeveralSources([SyntheticSource(name, seed=3) for name in names])
    start = 1_790_586_000

    async def test() -> None:
        clock = ManualClock(start - 86_400 - 1)
        async with (
            LocalVenue(source, clock=clock) as venue,
            httpx.AsyncClient(verify=False) as http,
        ):
            async with connect(f"{venue.ws_url}/ws/market") as socket:
                feed = Feed(socket)
                await feed.send(
                    {"type": "market", "assets_ids": [], "custom_feature_enabled": True}
                )
                await feed.ping()
                await clock.advance(1)
                fresh = {(await feed.until("new_market"))["slug"] for _ in names}
            assert fresh == {f"{name}-{start}" for name in names}
            clock.now = start + 10
            listed = (await http.get(f"{venue.url}/gamma/markets?limit=500")).json()
            slugs = [row["slug"] for row in listed]
            assert fresh <= set(slugs)
            assert len(slugs) == len(set(slugs))
            starts = [int(slug.rpartition("-")[2]) for slug in slugs]
            assert starts == sorted(starts)
            tokens: set[str] = set()
            for slug in fresh:
                market = source.market(slug)
                assert market is not None
                book = await http.get(f"{venue.url}/clob/book?token_id={market.tokens[0]}")
                assert book.json()["bids"]
                tokens.update(market.tokens)
                assert source.winner(market) in Outcome
            assert len(tokens) == 6

    run(test)


def test_a_source_of_nothing_is_refused() -> None:
    """At least one is needed, and a market of none of them is an error."""
    with pytest.raises(ConfigError, match="sources: expected at least one"):
        SeveralSources([])
    source = SeveralSources([SyntheticSource("btc-updown-15m")])
    assert source.market("eth-updown-15m-1790586000") is None
    assert source.skipped == {}
    stranger = make_market(asset="eth")
    with pytest.raises(KeyError, match="no source has eth-updown-15m"):
        source.winner(stranger)
