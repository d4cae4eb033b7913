"""Winnings of earlier runs: each market that pays is redeemed once, and its end is told."""

from __future__ import annotations

from decimal import Decimal
from typing import cast

from attrs import define, field

from polyframe.clock import VirtualClock
from polyframe.errors import ExchangeUnavailable
from polyframe.exchange.polymarket.dataapi import DataClient
from polyframe.exchange.polymarket.datarecords import RecordedPosition
from polyframe.exchange.polymarket.winnings import redeem_earlier
from polyframe.model.conversion import Receipt, ReceiptState

S = ReceiptState


def position(
    condition: str,
    outcome: str = "Up",
    *,
    size: str = "5",
    price: str | None = "1",
    over: bool = True,
) -> RecordedPosition:
    """Return a position as the records show it."""
    return RecordedPosition(
        token=condition + outcome,
        condition_id=condition,
        outcome=outcome,
        size=Decimal(size),
        average_price=Decimal("0.5"),
        current_price=None if price is None else Decimal(price),
        realised=Decimal(0),
        is_redeemable=over,
        is_mergeable=False,
    )


@define
class Records:
    """Records with some positions."""

    found: list[RecordedPosition]

    async def positions(self) -> list[RecordedPosition]:
        """Return them."""
        return self.found


@define
class Contracts:
    """Redeems; what is asked for is confirmed with the third question, or as `ends` says."""

    ends: dict[str, list[ReceiptState]] = field(factory=dict)
    redeemed: list[str] = field(factory=list)
    lost: int = 0
    silent: frozenset[str] = frozenset()

    async def redeem_condition(self, condition_id: str) -> Receipt:
        """Note it."""
        self.redeemed.append(condition_id)
        if condition_id in self.silent:
            msg = "no answer"
            raise ExchangeUnavailable(msg)
        return self._next(condition_id)

    async def fetch_receipt(self, transaction_id: str) -> Receipt:
        """Say what comes next, once no more questions are lost."""
        if self.lost:
            self.lost -= 1
            raise ExchangeUnavailable("lost")
        return self._next(transaction_id)

    def _next(self, name: str) -> Receipt:
        left = self.ends.setdefault(name, [S.SUBMITTED, S.SUBMITTED, S.CONFIRMED])
        return Receipt(left.pop(0) if len(left) > 1 else left[0], name)


def redeem(found: list[RecordedPosition], contracts: Contracts) -> dict[str, ReceiptState]:
    """Return how it ended, in simulated time."""

    async def main() -> dict[str, ReceiptState]:
        records = cast("DataClient", Records(found))
        receipts = await redeem_earlier(records, contracts, timeout=60)
        return {name: receipt.state for name, receipt in receipts.items()}

    return VirtualClock().run(main())


def test_what_pays_is_redeemed_once() -> None:
    """Not what lost, what is not resolved, or what nobody has a price of; both outcomes go at once."""
    contracts = Contracts()
    found = redeem(
        [
            position("won"),
            position("won", "Down", price="0"),
            position("half", price="0.5"),
            position("half", "Down", price="0.5"),
            position("lost", price="0"),
            position("alive", price="1", over=False),
            position("untold", price=None),
            position("empty", size="0"),
        ],
        contracts,
    )
    assert found == {"won": S.CONFIRMED, "half": S.CONFIRMED}
    assert contracts.redeemed == ["won", "half"]


def test_each_end_is_told() -> None:
    """Refused, failed on chain, not known, and one that takes longer than there is patience for."""
    contracts = Contracts(
        {
            "refused": [S.FAILED],
            "failed": [S.SUBMITTED, S.FAILED],
            "unknown": [S.SUBMITTED, S.UNKNOWN],
            "slow": [S.SUBMITTED],
        }
    )
    found = redeem([position(name) for name in contracts.ends], contracts)
    assert found == {
        "refused": S.FAILED,
        "failed": S.FAILED,
        "unknown": S.UNKNOWN,
        "slow": S.SUBMITTED,
    }


def test_a_lost_question_is_asked_again() -> None:
    """What is on its way ends without it, and the next market is redeemed as well."""
    contracts = Contracts(lost=2)
    found = redeem([position("first"), position("next")], contracts)
    assert found == {"first": S.CONFIRMED, "next": S.CONFIRMED}
    assert contracts.redeemed == ["first", "next"]
    silent = Contracts(lost=1000)
    assert redeem([position("first")], silent) == {"first": S.SUBMITTED}


def test_one_that_fails_costs_no_receipt_of_another() -> None:
    """Nobody answers for the second of three: its receipt says so, and the others are all told."""
    contracts = Contracts(silent=frozenset({"second"}))
    found = redeem([position(name) for name in ("first", "second", "third")], contracts)
    assert found == {"first": S.CONFIRMED, "second": S.UNKNOWN, "third": S.CONFIRMED}
    assert contracts.redeemed == ["first", "second", "third"]


def test_nothing_to_redeem() -> None:
    """Nobody is asked."""
    contracts = Contracts()
    assert redeem([], contracts) == {}
    assert contracts.redeemed == []
