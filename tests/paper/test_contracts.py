"""Splits and merges on paper: carried out when they are mined, as a whole or not at all."""

from __future__ import annotations

import random
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.clock import VirtualClock
from polyframe.exchange.base import PreparedOrder
from polyframe.model.conversion import ConversionKind, Receipt, ReceiptState
from polyframe.model.market import Outcome
from polyframe.model.order import OrderRequest, Side
from polyframe.paper import keeping
from polyframe.paper.core import PaperVenue
from polyframe.paper.models import ConstantLatency, PaperModels
from polyframe.trading.snapshotstore import MemoryStore
from tests.paper.scene import play, scene
from tests.support.fake import START, make_market, snapshot

UP, DOWN = Outcome.UP, Outcome.DOWN
SPLIT, MERGE = ConversionKind.SPLIT, ConversionKind.MERGE
NOW = START * 1000
MARKET = make_market(start=START)
MODELS = PaperModels(
    order_latency=ConstantLatency(60),
    mined=ConstantLatency(2_000),
    confirmed=ConstantLatency(1_000),
)


def a_venue(cash: str = "100", pairs: str = "0") -> PaperVenue:
    """Return a venue whose account has so many pairs."""
    venue = PaperVenue(MODELS, Decimal(cash), random.Random)
    venue.add_market(MARKET)
    for outcome in Outcome:
        venue.account.move(MARKET.token(outcome), Decimal(pairs), Decimal(0))
    return venue


def held(venue: PaperVenue) -> tuple[Decimal, Decimal, Decimal]:
    """Return cash and shares of both outcomes."""
    shares = (venue.account.shares.get(MARKET.token(o), Decimal(0)) for o in Outcome)
    up, down = shares
    return venue.account.cash, up, down


def test_a_merge_is_carried_out_when_it_is_mined_and_told_when_it_is_confirmed() -> None:
    """Nothing moves for two seconds, then pairs are cash, and a second later it is final."""
    venue = a_venue(pairs="10")
    assert venue.contracts.send("x", MARKET, MERGE, Decimal(4), NOW).state is ReceiptState.SUBMITTED
    venue.advance(NOW + 2_059)
    assert held(venue) == (Decimal(100), Decimal(10), Decimal(10))
    venue.advance(NOW + 2_060)
    assert held(venue) == (Decimal(104), Decimal(6), Decimal(6))
    assert venue.contracts.receipt("x").state is ReceiptState.SUBMITTED
    venue.advance(NOW + 3_060)
    assert venue.contracts.receipt("x").state is ReceiptState.CONFIRMED


def test_what_is_not_there_when_it_is_mined_is_not_converted_at_all() -> None:
    """Pairs that were sold meanwhile, or cash that was spent: it fails, and nothing moves."""
    venue = a_venue("5", "3")
    venue.contracts.send("x", MARKET, MERGE, Decimal(4), NOW)
    venue.contracts.send("y", MARKET, SPLIT, Decimal(6), NOW)
    venue.advance(NOW + 10_000)
    assert held(venue) == (Decimal(5), Decimal(3), Decimal(3))
    for name in ("x", "y"):
        assert venue.contracts.receipt(name).state is ReceiptState.FAILED
    assert venue.contracts.receipt("z").state is ReceiptState.UNKNOWN


def test_shares_that_are_not_on_chain_yet_cannot_be_merged() -> None:
    """What a trade brings counts from MINED on."""
    venue = a_venue(pairs="10")
    venue.account.expect(MARKET.up_token, Decimal(7))
    venue.contracts.send("x", MARKET, MERGE, Decimal(4), NOW)
    venue.advance(NOW + 10_000)
    assert venue.contracts.receipt("x").state is ReceiptState.FAILED
    assert venue.contracts.shares(MARKET) == {UP: Decimal(3), DOWN: Decimal(10)}


def test_a_merge_after_the_payout_fails() -> None:
    """What is paid out is no pair any more."""
    venue = a_venue(pairs="10")
    venue.contracts.send("x", MARKET, MERGE, Decimal(4), NOW)
    venue.resolve(MARKET, UP, NOW + 1_000)
    venue.advance(NOW + 10_000)
    assert venue.contracts.receipt("x").state is ReceiptState.FAILED
    assert venue.account.cash == 110


def test_a_sell_whose_shares_were_merged_is_withdrawn() -> None:
    """The venue ends orders that are not covered any more (PROTOCOL §5.3)."""
    venue = a_venue(pairs="10")
    for outcome in Outcome:
        venue.on_message(MARKET.slug, snapshot(MARKET, outcome), NOW)
    request = OrderRequest(UP, Side.SELL, Decimal("0.60"), Decimal(10))
    venue.send_order(PreparedOrder("o1", MARKET, request), NOW)
    venue.contracts.send("x", MARKET, MERGE, Decimal(4), NOW)
    venue.advance(NOW + 10_000)
    assert venue.orders["o1"].status == "INVALID"


def test_what_was_carried_out_is_confirmed_after_a_restart_and_the_rest_failed() -> None:
    """An account that comes back knows what moved its shares, and what never will."""
    venue = a_venue(pairs="10")
    venue.contracts.send("x", MARKET, MERGE, Decimal(4), NOW)
    venue.advance(NOW + 2_060)
    venue.contracts.send("y", MARKET, MERGE, Decimal(2), NOW + 2_060)
    kept = keeping.decode(keeping.encode(venue, "paper", 1))
    fresh = PaperVenue(MODELS, Decimal(0), random.Random)
    keeping.restore(fresh, kept)
    fresh.advance(NOW + 10_000)
    assert held(fresh) == (Decimal(104), Decimal(6), Decimal(6))
    assert fresh.contracts.receipt("x").state is ReceiptState.CONFIRMED
    assert fresh.contracts.receipt("y") == Receipt(
        ReceiptState.FAILED, "y", "the exchange closed before it was mined"
    )


def test_an_account_of_an_earlier_version_is_read() -> None:
    """A file without conversions has none."""
    data = keeping.encode(a_venue(), "paper", 1).replace(b',"conversions":{}', b"")
    assert b"conversions" not in data
    assert keeping.decode(data).conversions == {}


@given(
    st.lists(
        st.tuples(
            st.sampled_from(ConversionKind),
            st.decimals("0.01", "8", places=2),
            st.integers(0, 5000),
        ),
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_cash_and_pairs_together_never_change(
    wanted: list[tuple[ConversionKind, Decimal, int]],
) -> None:
    """Whatever is split and merged, cash plus pairs is what it was, and nothing is below zero."""
    venue = a_venue("10", "10")
    for number, (kind, shares, later) in enumerate(wanted):
        venue.contracts.send(f"x{number}", MARKET, kind, shares, NOW + later)
        venue.advance(NOW + later)
        cash, up, down = held(venue)
        assert up == down
        assert cash + up == 20
        assert min(cash, up) >= 0
    venue.advance(NOW + 100_000)
    assert all(one.state is not ReceiptState.SUBMITTED for one in venue.contracts.receipts.values())


def test_a_paper_exchange_splits_merges_and_remembers() -> None:
    """Through the exchange: submitted at once, confirmed in time, kept before it is told, once."""
    store = MemoryStore()

    async def first(clock: VirtualClock) -> None:
        async with scene(clock, store) as found:
            exchange, market = found.exchange, found.market
            split = await exchange.split(market, Decimal(20))
            assert split.state is ReceiptState.SUBMITTED
            await clock.sleep(10)
            done = await exchange.fetch_receipt(split.transaction_id)
            assert done.state is ReceiptState.CONFIRMED
            assert b'"confirmed"' in store.read(keeping.KEY)
            assert await exchange.fetch_shares(market) == {UP: Decimal(20), DOWN: Decimal(20)}
            await exchange.merge(market, Decimal(5))
            await clock.sleep(10)
            assert await exchange.fetch_balance() == 985
            assert (await exchange.redeem(market)).state is ReceiptState.FAILED

    async def second(clock: VirtualClock) -> None:
        async with scene(clock, store) as found:
            assert await found.exchange.fetch_balance() == 985
            shares = await found.exchange.fetch_shares(found.market)
            assert shares == {UP: Decimal(15), DOWN: Decimal(15)}

    play(first)
    play(second)
