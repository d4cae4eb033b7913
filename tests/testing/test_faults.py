"""Faults: by name, by seed, independent of each other."""

from __future__ import annotations

import pytest

from polyframe.errors import ConfigError
from polyframe.testing.faults import RATES, Fault, Faults, parse_faults


def draws(faults: Faults, kind: Fault, number: int = 200) -> list[bool]:
    """Return the decisions of one kind."""
    return [faults.hit(kind) for _ in range(number)]


def test_the_same_seed_decides_the_same() -> None:
    """Decisions repeat with the seed and differ with another."""
    kind = Fault.USER_DROP
    first, again = (draws(Faults(Fault, seed=1), kind) for _ in range(2))
    assert first == again != draws(Faults(Fault, seed=2), kind)
    assert any(first)


def test_a_kind_that_is_off_changes_nothing_of_the_others() -> None:
    """What one kind decides does not depend on which others may happen."""
    alone = Faults({Fault.USER_DROP}, seed=1)
    both = Faults({Fault.USER_DROP, Fault.PLACE_LOST}, seed=1)
    decided = []
    for _ in range(200):
        both.hit(Fault.PLACE_LOST)
        decided.append(both.hit(Fault.USER_DROP))
    assert decided == draws(alone, Fault.USER_DROP)
    assert draws(alone, Fault.PLACE_LOST) == [False] * 200


def test_faults_are_counted_by_kind() -> None:
    """Only what happened is counted."""
    faults = Faults({Fault.BARRIER}, rates={Fault.BARRIER: 1.0})
    draws(faults, Fault.BARRIER, 3)
    draws(faults, Fault.USER_DROP, 3)
    assert faults.counts == {Fault.BARRIER: 3}


def test_a_chance_is_between_0_and_1() -> None:
    """Another one is refused by name."""
    with pytest.raises(ConfigError, match="rates: expected a chance from 0 to 1 for barrier"):
        Faults(rates={Fault.BARRIER: 1.5})


def test_every_kind_has_a_chance() -> None:
    """No kind is forgotten in the table."""
    assert set(RATES) == set(Fault)


def test_kinds_are_given_by_name() -> None:
    """All, none, or names with commas; a wrong name is told with those that there are."""
    assert parse_faults("all") == frozenset(Fault)
    assert parse_faults("none") == frozenset()
    assert parse_faults("user_drop, barrier") == {Fault.USER_DROP, Fault.BARRIER}
    with pytest.raises(ConfigError, match="faults: rain is none; expected all, none or user_delay"):
        parse_faults("rain,barrier")
