"""From the match to the last word about a trade, and from the end of a market to its payout."""

from __future__ import annotations

from decimal import Decimal

import pytest
from attrs import evolve

from polyframe.errors import ConfigError
from polyframe.model.market import Outcome
from polyframe.model.order import OrderType, PlaceResult, Side
from polyframe.model.trade import TradeStatus
from polyframe.paper.core import FORGET_AFTER_MS
from polyframe.paper.models import ConstantLatency, EmpiricalLatency, PaperModels
from polyframe.paper.queues import Power2
from tests.paper.kit import PROMPT, Desk, order
from tests.support.fake import make_market

SELL = Side.SELL
FAILING = evolve(PROMPT, failed=1.0)


def statuses(desk: Desk) -> list[str]:
    """Return the statuses of the trades as they were told."""
    return [trade.status.value for trade in desk.trades()]


def test_shares_can_be_sold_once_they_are_mined() -> None:
    """Before, the venue has no balance of them; the trade is told of in each status."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    assert desk.answer(desk.send(order("0.48", 10, SELL))).code == "not_enough_balance"
    desk.wait(1_999)
    assert desk.answer(desk.send(order("0.48", 10, SELL))).code == "not_enough_balance"
    desk.wait(1)
    assert desk.answer(desk.send(order("0.48", 10, SELL))).result is PlaceResult.MATCHED
    assert statuses(desk) == ["MATCHED", "MINED", "MATCHED"]
    desk.wait(2_000)
    assert statuses(desk)[3:] == ["CONFIRMED", "MINED"]


def test_a_failed_buy_gives_the_cash_back() -> None:
    """Fee and all, and the shares are gone."""
    desk = Desk(FAILING)
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    assert desk.venue.account.cash < 995
    desk.wait(2_000)
    assert statuses(desk) == ["MATCHED", "FAILED"]
    assert desk.venue.account.cash == 1000
    assert desk.venue.account.shares == desk.venue.account.arriving == {}
    desk.wait(10_000)
    assert statuses(desk) == ["MATCHED", "FAILED"]


def test_a_failed_sell_that_left_orders_uncovered_ends_them() -> None:
    """The cash of the sale is gone again; the latest order that needs it is withdrawn (INVALID)."""
    desk = Desk(cash="6")
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    desk.wait(4_000)
    desk.venue.trades._models = FAILING
    sold = desk.send(order("0.48", 10, SELL))
    bid = desk.send(order("0.40", 12))
    assert desk.answer(bid).result is PlaceResult.LIVE
    desk.wait(2_000)
    assert statuses(desk)[-1] == "FAILED"
    assert desk.reports(bid)[-1][:2] == ("CANCELLATION", "INVALID")
    assert desk.venue.account.shares == {desk.market.up_token: Decimal(10)}
    assert desk.reports(sold)[-1][1] == "MATCHED"


def test_orders_that_are_still_covered_stay() -> None:
    """Only as many of the latest are withdrawn as have to be."""
    desk = Desk(cash="9")
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    desk.wait(4_000)
    desk.venue.trades._models = FAILING
    older = desk.send(order("0.40", 5))
    desk.send(order("0.48", 10, SELL))
    desk.wait(1)
    younger = desk.send(order("0.40", 12))
    desk.wait(2_000)
    assert [open_.order_id for open_ in desk.venue.open_orders()] == [older]
    assert desk.reports(younger)[-1][1] == "INVALID"


def test_a_sell_whose_cash_is_spent_settles() -> None:
    """What cannot be taken back any more cannot fail."""
    desk = Desk(cash="6")
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    desk.wait(4_000)
    desk.venue.trades._models = FAILING
    desk.send(order("0.48", 10, SELL))
    desk.send(order("0.50", 10))
    desk.wait(2_000)
    assert statuses(desk)[-2:] == ["MINED", "FAILED"]
    assert desk.venue.account.cash >= 0


@pytest.mark.parametrize(("winner", "cash"), [(Outcome.UP, 1010), (Outcome.DOWN, 1000)])
def test_a_resolution_pays_a_dollar_a_share_once(winner: Outcome, cash: int) -> None:
    """What is held turns into cash or into nothing, also what is not on chain yet."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    paid = 1000 - desk.venue.account.cash
    resting = desk.send(order("0.40", 10))
    for _ in range(2):
        desk.venue.resolve(desk.market, winner, desk.now)
    desk.wait(0)
    assert desk.reports(resting)[-1][1] == "CANCELED_MARKET_RESOLVED"
    assert desk.venue.account.cash == cash - paid
    assert desk.venue.account.shares == {}
    desk.wait(4_000)
    assert statuses(desk) == ["MATCHED", "MINED", "CONFIRMED"]
    assert desk.venue.account.arriving == {}


@pytest.mark.parametrize("winner", list(Outcome))
def test_a_trade_that_fails_after_the_payout_takes_the_payout_too(winner: Outcome) -> None:
    """Neither the shares were ours nor what they paid."""
    desk = Desk(FAILING)
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    desk.venue.resolve(desk.market, winner, desk.now)
    desk.wait(2_000)
    assert statuses(desk) == ["MATCHED", "FAILED"]
    assert desk.venue.account.cash == 1000


def test_markets_that_are_long_over_are_forgotten() -> None:
    """An hour after its end a resolved market, its orders and its trades take no room any more."""
    desk = Desk()
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    end_ms = desk.market.window.end * 1000
    desk.wait(end_ms - desk.now)
    desk.venue.resolve(desk.market, Outcome.UP, desk.now)
    desk.wait(FORGET_AFTER_MS)
    desk.venue.resolve(desk.market, Outcome.UP, desk.now)
    assert desk.venue.markets
    desk.wait(1)
    cash = desk.venue.account.cash
    desk.venue.resolve(desk.market, Outcome.UP, desk.now)
    account = desk.venue.account
    assert (desk.venue.markets, desk.venue.orders, list(desk.venue.trades)) == ({}, {}, [])
    assert (account.worth, account.cash) == ({}, cash)
    desk.venue.resolve(desk.market, Outcome.UP, desk.now)
    assert account.worth == {}


def test_a_market_is_not_forgotten_before_its_end() -> None:
    """Neither while its winner is not known, nor while a trade of it is not final."""
    late = Desk(evolve(PROMPT, confirmed=ConstantLatency(10_000_000)))
    unpaid = Desk()
    other = make_market("eth-updown-15m")
    for desk in (late, unpaid):
        desk.book({48: 100}, {50: 30})
        desk.send(order("0.50", 10))
        desk.venue.add_market(other)
        desk.wait(desk.market.window.end * 1000 - desk.now + FORGET_AFTER_MS + 1)
    late.venue.resolve(late.market, Outcome.UP, late.now)
    assert late.market.slug in late.venue.markets
    unpaid.venue.resolve(other, Outcome.UP, unpaid.now)
    assert list(unpaid.venue.markets) == [unpaid.market.slug]
    assert unpaid.venue.account.shares


def test_the_same_seed_makes_the_same_fills() -> None:
    """All chance comes from the seed; another seed makes other fills."""

    def run(seed: int) -> list[object]:
        latencies = EmpiricalLatency((0, 10, 300, 900))
        models = PaperModels(latencies, latencies, mined=latencies, failed=0.3, seed=seed)
        desk = Desk(models)
        desk.book({48: 100}, {50: 3000})
        for _ in range(30):
            desk.send(order("0.50", 10, order_type=OrderType.FAK))
            desk.wait(100)
        desk.wait(10_000)
        return [*desk.told]

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_every_measured_duration_occurs() -> None:
    """Each of the samples is as likely as any other, and nothing else comes out."""
    latency = EmpiricalLatency((5, 7, 9))

    class Steps:
        def __init__(self) -> None:
            self.value = 0.0

        def random(self) -> float:
            self.value += 0.1
            return min(self.value, 0.99)

    steps = Steps()
    assert [latency.sample_ms(steps) for _ in range(10)] == [5, 5, 5, 7, 7, 7, 9, 9, 9, 9]


def test_wrong_settings_are_named() -> None:
    """The message has the field and what to put there."""
    with pytest.raises(ConfigError, match="ms: expected whole milliseconds"):
        ConstantLatency(-1)
    with pytest.raises(ConfigError, match="ms: expected whole milliseconds"):
        ConstantLatency(0.5)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="samples_ms: expected at least one"):
        EmpiricalLatency(())
    with pytest.raises(ConfigError, match="samples_ms: expected whole"):
        EmpiricalLatency((1, -1))
    with pytest.raises(ConfigError, match="failed: expected a probability"):
        PaperModels(failed=1.5)
    with pytest.raises(
        ConfigError, match=r"order_latency: .* such as ConstantLatency\(250\), got 250"
    ):
        PaperModels(order_latency=250)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"queue: expected a model of queues, .*, got <class"):
        PaperModels(queue=Power2)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="stale_ms: expected whole"):
        PaperModels(stale_ms=-1)


def test_both_statuses_come_in_order_whatever_the_durations() -> None:
    """MINED at once and CONFIRMED at once still are two reports."""
    prompt = evolve(PROMPT, mined=ConstantLatency(0), confirmed=ConstantLatency(0))
    desk = Desk(prompt)
    desk.book({48: 100}, {50: 30})
    desk.send(order("0.50", 10))
    desk.wait(0)
    assert [trade.status for trade in desk.trades()] == [
        TradeStatus.MATCHED,
        TradeStatus.MINED,
        TradeStatus.CONFIRMED,
    ]
