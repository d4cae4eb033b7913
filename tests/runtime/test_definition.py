"""What is refused, or told, of a strategy class before it ever runs."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections import deque
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from attrs import Factory, define, field

from polyframe.definition import check_definition
from polyframe.errors import StrategyDefinitionError
from polyframe.model.events import PriceChanged
from polyframe.strategy import Strategy

KEPT: list[int] = []


class Cache:
    seen: ClassVar[dict[str, int]] = {}


class Hook:
    async def on_price(self, event: PriceChanged) -> None:
        pass


def _refused() -> list[tuple[Strategy, str]]:
    @define
    class Mixed(Strategy, Cache):
        pass

    @define
    class Shadowed(Strategy, Hook):
        pass

    @define
    class Kept(Strategy):
        seen: list[int] = field(init=False, factory=lambda: KEPT)

    @define
    class NoType(Strategy):
        is_done = False

        async def on_price(self, event: PriceChanged) -> None:
            self.is_done = True  # type: ignore[misc]

    @define
    class Counts(Strategy):
        count = 7

        async def run(self) -> None:
            self.count += 1  # type: ignore[misc]

    @define
    class CountsItself(Strategy):
        count = 7

        async def run(self) -> None:
            self.count += self.count  # type: ignore[misc]

    @define
    class Undeclared(Strategy):
        async def on_cycle_start(self) -> None:
            [self for _ in range(3)]
            self.total = Decimal(0)  # type: ignore[misc]

    @define
    class Late(Strategy):
        def __attrs_post_init__(self) -> None:
            if not isinstance(self, Strategy):
                self.total = 3

    @define
    class FromArgument(Strategy):
        def keep(self, total: int) -> None:
            self.total = total  # type: ignore[misc]

    @define
    class Camel(Strategy):
        async def onPrice(self, event: PriceChanged) -> None:  # noqa: N802
            pass

    return [
        (Mixed(), r"Cache.seen: a mutable class attribute"),
        (
            Shadowed(),
            r"Hook.on_price would never be called.* write 'class Shadowed\(Hook, Strategy\)'",
        ),
        (Kept(), r"Kept.seen: its factory gives the same list to all cycles"),
        (
            NoType(),
            r"NoType.is_done: on_price\(\) sets it, .*is_done: bool = field\(init=False, default=False\)",
        ),
        (Counts(), r"Counts.count: run\(\) sets it, .*count: int = field\(init=False, default=7\)"),
        (CountsItself(), r"CountsItself.count: run\(\) sets it"),
        (Undeclared(), r"Undeclared.total: on_cycle_start\(\) sets it, but it is no field"),
        (Late(), r"Late.total: __attrs_post_init__\(\) sets it"),
        (FromArgument(), r"FromArgument.total: keep\(\) sets it"),
        (Camel(), r"Camel.onPrice: no hook has this name; is on_price meant\?"),
    ]


@pytest.mark.parametrize(("strategy", "text"), _refused())
def test_what_would_leak_or_fail_late_is_refused(strategy: Strategy, text: str) -> None:
    """What carries state over, never runs, or cannot be set, is refused before any cycle begins."""
    with pytest.raises(StrategyDefinitionError, match=text):
        check_definition(strategy)


def test_what_can_be_set_is_not_refused() -> None:
    """Fields, properties, own ``__setattr__``, other objects' attributes and loose mixins are fine."""

    class Box:
        total = 0

    class Loose:
        note = ""

        def write(self) -> None:
            self.note = "written"

    @define
    class Fine(Strategy):
        total: int = field(init=False, default=0)
        _hidden: int = field(init=False, default=0)
        box: Box = field(init=False, factory=Box)
        recent: deque[int] = field(init=False, factory=lambda: deque(maxlen=3))
        own: list[Any] = field(init=False, default=Factory(lambda self: [self], takes_self=True))

        @property
        def doubled(self) -> int:
            return 2 * self.total

        @doubled.setter
        def doubled(self, value: int) -> None:
            self.total = value // 2

        async def run(self) -> None:
            self.total = self._hidden = 3
            self.total += 1
            self.doubled = 4
            self.box.total = 5
            self.box.total += self.total

    @define
    class WithMixin(Loose, Strategy):
        pass

    @define
    class Anything(Strategy):
        def __setattr__(self, name: str, value: object) -> None:
            if name != "noise":
                object.__setattr__(self, name, value)

        async def run(self) -> None:
            self.noise = 3

    for strategy in (Fine(), WithMixin(), Anything()):
        check_definition(strategy)


def test_an_abstract_strategy_can_be_a_base() -> None:
    """What Python keeps in each abstract class is no state of the strategy's."""

    @define
    class Base(Strategy, ABC):
        @abstractmethod
        async def on_price(self, event: PriceChanged) -> None: ...

    @define
    class Made(Base):
        async def on_price(self, event: PriceChanged) -> None:
            pass

    check_definition(Made())


def test_a_method_that_looks_like_a_hook_and_is_never_called_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Once for each class, with the names of the hooks; one that the strategy calls itself is not."""

    @define
    class Foreign(Strategy):
        async def on_fill(self, event: object) -> None:
            pass

        async def on_jump(self) -> None:
            pass

        async def on_calm(self) -> None:
            pass

        async def on_price(self, event: PriceChanged) -> None:
            await self.on_jump()
            self.spawn(next(call() for call in (self.on_calm,)))

    with caplog.at_level(logging.WARNING, "polyframe.definition"):
        check_definition(Foreign())
        check_definition(Foreign())
    assert 1 == len(caplog.records)
    assert "Foreign.on_fill: no hook has this name" in caplog.text
    assert "on_trade" in caplog.text
