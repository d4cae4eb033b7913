"""Every counter, reason and error that the documents name can be made to happen, and no other exists."""

from __future__ import annotations

import ast
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from attrs import define

import polyframe.errors
from polyframe.clock import ScaledClock
from polyframe.counters import Count
from polyframe.definition import check_definition
from polyframe.errors import (
    AuthenticationFailed,
    CancelOnly,
    ConfigError,
    ExchangeError,
    ExchangeUnavailable,
    GeoBlocked,
    OrderDenied,
    OrderError,
    OrderOutcomeUnknown,
    OrderRejected,
    PolyframeError,
    PostOnlyMode,
    RateLimited,
    StaleCycleError,
    StrategyDefinitionError,
    StrategyFailed,
    TradingDisabled,
    VenueOverloaded,
    VenueRestarting,
)
from polyframe.exchange.base import PlaceAnswer
from polyframe.model.order import OrderRequest, PlaceResult
from polyframe.strategy import Strategy
from tests.exchange.kit import MARKET
from tests.exchange.test_rest import Venue
from tests.support.fake import START, FakeExchange
from tests.support.produce_conversions import CONVERSIONS
from tests.support.produce_paper import PAPER
from tests.support.produce_recordings import RECORDINGS
from tests.support.produce_reference import REFERENCE
from tests.support.produce_requests import REQUESTS
from tests.support.produce_resolution import RESOLUTION
from tests.support.produce_runtime import BUY, RUNTIME, Raises, buy
from tests.support.produce_wire import WIRE
from tests.support.stage import Stage, play

ROOT = Path(__file__).resolve().parents[1]

PRODUCERS = RUNTIME | WIRE | REFERENCE | REQUESTS | RESOLUTION | RECORDINGS | PAPER | CONVERSIONS


def documented_reasons() -> dict[str, list[str]]:
    """Return the reasons that `docs/counters.md` lists, by name of the counter."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in (ROOT / "docs" / "counters.md").read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"### `(\w+)`$", line):
            name = heading[1]
            found[name] = []
        elif row := re.match(r"\| `([^`]+)` \| (.+) \|$", line):
            assert row[2].strip(), f"{name} {row[1]} says nothing"
            found[name].append(row[1])
    return found


def matches(documented: str, reason: str) -> bool:
    """Return whether `reason` is an instance of what is documented (``<…>`` stands for a word)."""
    pattern = "".join(
        ".+" if part.startswith("<") else re.escape(part)
        for part in re.split(r"(<\w+>)", documented)
    )
    return re.fullmatch(pattern, reason) is not None


DOCUMENTED = documented_reasons()
ROWS = [(Count(name), reason) for name, reasons in DOCUMENTED.items() for reason in reasons]


def test_every_counter_is_documented() -> None:
    """The page has a section for each counter, in no other words than the code's, and with rows."""
    assert sorted(DOCUMENTED) == sorted(count.value for count in Count)
    assert all(DOCUMENTED.values())


def test_every_documented_reason_has_a_producer() -> None:
    """What the page names is what the table of producers has, and the other way round."""
    assert sorted(PRODUCERS) == sorted(ROWS)


@pytest.mark.parametrize(("count", "reason"), ROWS, ids=str)
def test_the_count_happens(count: Count, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    """The producer of a row makes that count go up."""
    caplog.set_level(logging.CRITICAL)
    counted = PRODUCERS[count, reason]().reasons(count)
    assert [found for found in counted if matches(reason, found)], counted


UNREACHABLE = {"unknown_order", "conflict"}
"""Replies of the pure engine to commands that the service never gives: answers to orders that it did
not register, a second resolution of a market."""

CALLS = {
    "NotTradable": Count.MARKET_WAITS,
    "Ignored": Count.ENGINE_IGNORED,
    "denied": Count.ORDERS_DENIED,
    "_service.denied": Count.ORDERS_DENIED,
    "_desk.denied": Count.ORDERS_DENIED,
    "_stale": Count.STALE_CALLS,
    "_skips.add": Count.WIRE_SKIPPED,
    "_ignore": Count.PAPER_SKIPPED,
}
"""Calls whose first argument is a reason of that counter."""


def named_reasons() -> Iterator[tuple[Count, str, str]]:
    """Yield (counter, reason, place) wherever the code names a reason."""
    for path in sorted((ROOT / "polyframe").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            callee, arguments = ast.unparse(node.func), [literal(a) for a in node.args[:2]]
            place = f"{path.relative_to(ROOT)}:{node.lineno}"
            first = ast.unparse(node.args[0])
            if first.startswith("Count.") and len(arguments) == 2 and arguments[1]:
                yield Count[first.removeprefix("Count.")], arguments[1], place
            name = callee.removeprefix("self.")
            if name in CALLS and arguments[0]:
                yield CALLS[name], arguments[0], place


def literal(node: ast.expr) -> str:
    """Return the text of a literal, with a word for what an f-string puts in; else ``""``.

    An f-string that begins with a value says nothing of its own.
    """
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "word" for part in node.values
        )
    return ""


def test_no_reason_in_the_code_is_undocumented() -> None:
    """Each reason that the code names is a row of the page."""
    found = [item for item in named_reasons() if item[1] not in UNREACHABLE]
    assert {count for count, _, _ in found} >= {*CALLS.values(), Count.GATE_DROPPED}
    for count, reason, place in found:
        rows = DOCUMENTED[count.value]
        assert any(matches(row, reason) for row in rows), f"{place}: {count} {reason}"


# ------------------------------------------------------------------ errors


def _place(request: OrderRequest, *answers: PlaceAnswer) -> None:
    exchange = FakeExchange()
    exchange.answers = list(answers)

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.trading.handle("me").place(request)

    play(act, exchange=exchange)


def _denied() -> None:
    _place(buy("0.405"))


def _rejected() -> None:
    _place(BUY, PlaceAnswer(PlaceResult.REJECTED, "not_enough_balance", "no money"))


def _unknown() -> None:
    _place(BUY, PlaceAnswer(PlaceResult.UNKNOWN, "no_answer", "time-out"))


def _stale() -> None:
    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        await stage.open_cycle(START + 900)
        await stage.trading.place(START, "me", BUY)

    play(act)


def _failed() -> None:
    async def act(stage: Stage) -> None:
        await stage.trader.run(cycles=1)

    play(act, Raises(), on_error="raise")


@define
class Leaky(Strategy):
    """Shares a list between its cycles."""

    seen = []  # type: ignore[var-annotated]  # noqa: RUF012


def _too_early() -> None:
    _ = Raises().market


def said(status: int, text: str) -> httpx.Response:
    """Return an error answer of the venue."""
    return httpx.Response(status, json={"error": text})


def _answer(answer: object) -> Callable[[], None]:
    def ask() -> None:
        Venue(answer).ask(lambda rest: rest.fetch_open_orders(MARKET))

    return ask


ERRORS: dict[type[PolyframeError], Callable[[], object]] = {
    PolyframeError: _too_early,
    ConfigError: lambda: ScaledClock(0),
    StrategyDefinitionError: lambda: check_definition(Leaky()),
    StrategyFailed: _failed,
    StaleCycleError: _stale,
    OrderError: _denied,
    OrderDenied: _denied,
    OrderRejected: _rejected,
    OrderOutcomeUnknown: _unknown,
    ExchangeError: _answer({"data": 7}),
    ExchangeUnavailable: _answer(500),
    VenueRestarting: _answer(425),
    VenueOverloaded: _answer(503),
    TradingDisabled: _answer(said(503, "Trading is currently disabled. Check polymarket.com")),
    CancelOnly: _answer(said(503, "Trading is currently cancel-only. New orders are not accepted")),
    PostOnlyMode: _answer(
        said(503, "post-only mode: only post-only orders and cancels are allowed")
    ),
    GeoBlocked: _answer(said(403, "Trading restricted in your region")),
    RateLimited: _answer(429),
    AuthenticationFailed: _answer(401),
}
"""How each error comes about. `OrderError` is a base only: one of its kind stands for it."""


def error_classes() -> set[type[PolyframeError]]:
    """Return every error class of `polyframe.errors`."""
    return {
        value
        for value in vars(polyframe.errors).values()
        if isinstance(value, type) and issubclass(value, PolyframeError)
    }


def test_every_error_is_documented() -> None:
    """The page has a section for each error class and for no other."""
    text = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## `(\w+)`$", text, re.MULTILINE)
    assert sorted(sections) == sorted(error.__name__ for error in error_classes())
    assert error_classes() == set(ERRORS)
    for error in error_classes():
        assert hasattr(polyframe, error.__name__), f"{error.__name__} is not exported"


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_the_error_is_raised(error: type[PolyframeError], caplog: pytest.LogCaptureFixture) -> None:
    """Each error class comes out of the public interface, and is its own kind."""
    caplog.set_level(logging.CRITICAL)
    with pytest.raises(error) as caught:
        ERRORS[error]()
    if error is not OrderError:
        assert type(caught.value) is error
    assert str(caught.value)
