"""Who is told of comparisons with the venue: strategies, ledger, log; and their settings."""

from __future__ import annotations

import logging
from decimal import Decimal
from typing import Any

import pytest
from attrs import define

from polyframe.counters import Count
from polyframe.errors import (
    ConfigError,
    ExchangeError,
    StaleCycleError,
)
from polyframe.trading.reconcile import ReconcileReport, ReconcileSettings, describe
from tests.support.fake import (
    START,
    FakeExchange,
    order_report,
)
from tests.support.stage import Recorder, Stage, play
from tests.trading.reconcile_kit import (
    FIRST,
    ON_DEMAND,
    buy,
)


@define
class Asks(Recorder):
    """Compares at its start."""

    async def on_cycle_start(self) -> None:
        report = await self.trading.reconcile()
        self._note("asked", report.listed)


def test_a_strategy_can_ask() -> None:
    """``self.trading.reconcile()`` in a hook compares, and the handle of a dead cycle refuses."""
    exchange = FakeExchange()
    exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert [("asked", 1)] == stage.diary.of(START, "asked")
        handle = stage.trading.handle("Recorder")
        handle.kill()
        with pytest.raises(StaleCycleError, match="reconcile"):
            await handle.reconcile()

    play(act, Asks(), exchange=exchange)


def test_a_defect_of_a_strategy_in_the_hook_is_its_own() -> None:
    """``on_reconcile`` that raises ends the strategy's cycle like any other hook."""

    @define
    class Fails(Recorder):
        async def on_reconcile(self, report: ReconcileReport) -> None:
            raise ValueError

    exchange = FakeExchange()
    exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        assert {"on_reconcile": 1} == stage.env.counters.reasons(Count.STRATEGY_ERRORS)

    play(act, Fails(), exchange=exchange)


def test_what_is_found_is_written_down() -> None:
    """The ledger gets a note of each comparison that failed or found something, and of no other."""
    exchange = FakeExchange()
    notes: list[tuple[str, Any]] = []

    async def act(stage: Stage) -> None:
        stage.env.ledger.note = (  # type: ignore[method-assign]
            lambda kind, data, market=None: notes.append((kind, data))
        )
        await stage.open_cycle()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        exchange.balance = Decimal(1001)
        await stage.trading.reconcile()
        exchange.look_error = ExchangeError("away")
        await stage.trading.reconcile()
        found = [data for kind, data in notes if kind == "reconcile"]
        assert found == [
            {
                "trigger": "demand",
                "time": float(START),
                "listed": 1,
                "orders": ["0xforeign"],
                "foreign": ["0xforeign"],
                "cash": "1",
                "differs": True,
            },
            {"trigger": "demand", "time": float(START), "error": "away"},
        ]

    play(act, exchange=exchange, reconcile=ON_DEMAND)


def test_the_log_warns_of_what_is_odd(caplog: pytest.LogCaptureFixture) -> None:
    """What was only made up for is a line of information; what somebody should look at is a warning."""
    exchange = FakeExchange()

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        order = await buy(stage)
        exchange.end(order.venue_id)
        await stage.trading.reconcile()
        exchange.known["0xforeign"] = order_report(FIRST, "0xforeign")
        await stage.trading.reconcile()

    with caplog.at_level(logging.INFO):
        play(act, exchange=exchange, reconcile=ON_DEMAND)
    levels = {r.message: r.levelname for r in caplog.records if "differs" in r.message}
    differs = f"[paper] {FIRST.slug}: differs from the venue:"
    assert levels == {
        f"{differs} 1 orders changed (demand)": "INFO",
        f"{differs} 1 orders changed, 1 foreign orders open (demand)": "WARNING",
    }


def test_a_report_can_be_read() -> None:
    """Its one line names what was found, and says so when there is nothing."""
    report = ReconcileReport(slug="s", generation=1, trigger="timer", time=0.0)
    assert "nothing (timer)" == describe(report)
    full = ReconcileReport(
        slug="s",
        generation=1,
        trigger="start",
        time=0.0,
        trades=("t1", "t2"),
        foreign=("f",),
        cash=Decimal("-0.5"),
    )
    assert describe(full) == (
        "2 trades learned of, 1 foreign orders open, "
        "the venue has -0.5 USD of cash beyond our books (start)"
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("open_interval", 0.0),
        ("idle_interval", -1.0),
        ("soon", ()),
        ("soon", (1.0, 0.0)),
        ("soon", 1.0),
        ("soon", ("1",)),
        ("open_interval", "3"),
        ("idle_interval", float("nan")),
        ("grace", -1.0),
        ("foreign_orders", "steal"),
        ("late_orders", "ignore"),
    ],
)
def test_settings_that_cannot_be_are_refused(name: str, value: Any) -> None:
    """The error names the field."""
    with pytest.raises(ConfigError, match=f"^{name}: expected "):
        ReconcileSettings(**{name: value})
