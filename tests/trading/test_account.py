"""The cash that outlives cycles."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.trading.account import Account
from tests.trading.builders import dec, decs


def test_reserving_takes_from_what_is_available_not_from_the_cash() -> None:
    """A reservation holds cash until it is released, in part or as a whole."""
    account = Account(dec("100"))
    assert account.reserve("a", dec("60"))
    assert (account.cash, account.reserved, account.available) == decs("100", "60", "40")
    assert account.release("a", dec("20")) == 20
    assert account.reservation("a") == 40
    assert account.release("a") == 40
    assert account.release("a") == 0
    assert account.available == 100


def test_a_reservation_beyond_what_is_available_is_refused() -> None:
    """What is reserved or not there cannot be reserved again, to the last decimal."""
    account = Account(dec("1"))
    assert not account.reserve("a", dec("1.000001"))
    assert account.reserve("a", dec("0.999999"))
    assert not account.reserve("b", dec("0.000002"))
    assert account.reserve("b", dec("0.000001"))
    assert account.available == 0


def test_extending_asks_nobody() -> None:
    """What the venue has matched already is held even where the cash is not there."""
    account = Account(dec("1"))
    account.extend("a", dec("3"))
    assert (account.reservation("a"), account.available) == decs("3", "-2")


def test_a_key_that_holds_cash_cannot_be_reserved_again() -> None:
    """Reserving twice under one key is a mistake of the caller, and said so."""
    account = Account(dec("10"))
    account.reserve("a", dec("1"))
    with pytest.raises(ValueError, match="'a' holds 1 USD already"):
        account.reserve("a", dec("1"))
    account.release("a")
    assert account.reserve("a", dec("1"))


def test_releasing_more_than_is_held_is_an_error() -> None:
    """A reservation never becomes negative."""
    account = Account(dec("10"))
    account.reserve("a", dec("1"))
    with pytest.raises(ValueError, match="'a' holds 1 USD, cannot give back 2"):
        account.release("a", dec("2"))
    assert account.reserved == 1


@pytest.mark.parametrize(
    "call",
    [
        lambda account: account.reserve("a", Decimal(-1)),
        lambda account: account.extend("a", Decimal(-1)),
        lambda account: account.release("a", Decimal(-1)),
        lambda account: account.spend(Decimal(-1)),
        lambda account: account.receive(Decimal(-1)),
        lambda account: account.add_claim(Decimal(-1)),
        lambda account: account.revoke_claim(Decimal(-1)),
        lambda account: account.redeem(Decimal(-1)),
        lambda account: account.spend(Decimal("NaN")),
    ],
)
def test_negative_amounts_are_refused(call: Callable[[Account], object]) -> None:
    """Every move says its direction by its name: an amount below 0 is an error."""
    account = Account(dec("10"))
    with pytest.raises((ValueError, ArithmeticError)):
        call(account)
    assert (account.cash, account.reserved, account.claimable) == decs("10", "0", "0")


def test_claims_become_cash_when_they_are_redeemed() -> None:
    """A claim is not cash before, and cannot be redeemed twice."""
    account = Account(dec("10"))
    account.add_claim(dec("5"))
    assert (account.cash, account.available, account.claimable) == decs("10", "10", "5")
    account.redeem(dec("3"))
    assert (account.cash, account.claimable) == decs("13", "2")
    with pytest.raises(ValueError, match="2 USD are claimable, cannot redeem 3"):
        account.redeem(dec("3"))


def test_a_revoked_claim_that_was_redeemed_is_paid_back() -> None:
    """What is revoked beyond the open claims comes out of the cash."""
    account = Account(dec("10"))
    account.add_claim(dec("5"))
    account.redeem(dec("4"))
    account.revoke_claim(dec("3"))
    assert (account.cash, account.claimable) == decs("12", "0")


def test_a_fact_can_cost_more_than_there_is() -> None:
    """Cash shows what the venue did, below zero too."""
    account = Account(dec("1"))
    account.spend(dec("3"))
    assert (account.cash, account.available) == decs("-2", "-2")
    account.receive(dec("2.5"))
    assert account.cash == dec("0.5")


_amounts = st.decimals("0", "50", places=6)


@given(st.lists(st.tuples(st.sampled_from("abc"), _amounts, st.booleans())))
def test_reserved_is_the_sum_of_the_reservations(moves: list[tuple[str, Decimal, bool]]) -> None:
    """After any sequence, available + reserved is the cash and nothing held is negative."""
    account = Account(dec("100"))
    for key, amount, reserve in moves:
        if reserve and not account.reservation(key):
            fits = amount <= account.available
            assert account.reserve(key, amount) is fits
        elif not reserve:
            account.release(key, min(amount, account.reservation(key)))
        held = [account.reservation(key) for key in "abc"]
        assert account.reserved == sum(held)
        assert account.available == account.cash - account.reserved >= 0
        assert min(held) >= 0
    for key in "abc":
        account.release(key)
    assert account.reserved == 0


def test_the_text_of_an_account_tells_its_amounts() -> None:
    """The text shows cash, reservations and claims."""
    assert repr(Account(dec("5"))) == "Account(cash=5, reserved=0, claimable=0)"
