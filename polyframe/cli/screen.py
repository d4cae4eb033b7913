"""What a run looks like while it goes on: a live screen on a terminal, plain lines elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import Protocol

from attrs import frozen
from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from polyframe.cli.report import money_style, result_text
from polyframe.cli.watch import (
    Event,
    Watch,
    clock_text,
    never_found,
    order_text,
    price,
    shares,
    signed,
)
from polyframe.counters import Count
from polyframe.environment import Environment
from polyframe.model.market import Market, Outcome
from polyframe.model.series import Series
from polyframe.session import ExchangeSession
from polyframe.trader import Trader
from polyframe.trading.ledger import CycleStatus

FRAMES = 6
"""Screens drawn per real second: prices move faster, eyes do not."""

EVENTS, CYCLES = 8, 6
"""Lines of events and of finished cycles on a screen that is high enough."""

_HEAD, _MARKET, _TABLE = 1, 6, 4
"""Lines of the fixed parts: the head, a market, and the frame of the table of cycles."""

_LEAST = 8
"""Lines that markets of more than one series leave to events and finished cycles."""

_STYLES = {
    "cycle": "cyan",
    "order": "yellow",
    "fill": "magenta",
    "result": "green",
    "pause": "bold red",
}
_OUTCOMES = {Outcome.UP: "green", Outcome.DOWN: "red"}


@frozen
class Scene:
    """What is shown.

    Attributes:
        env, trader, series: Of the run.
        watch: Has the events.
        title: What runs, in a few words.
        cycles: Cycles of each series that the run is to live through, ``None`` for no end.
    """

    env: Environment
    trader: Trader
    series: Sequence[Series]
    watch: Watch
    title: str
    cycles: int | None

    def is_over(self, series: Series) -> bool:
        """Return whether all cycles of a series have begun."""
        if self.cycles is None:
            return False
        return sum(r.series == str(series) for r in self.env.ledger) >= self.cycles

    def pending(self, series: Series) -> list[str]:
        """Return the markets of a series that are over and not resolved."""
        records = map(self.env.ledger.get, self.env.settlement.pending)
        return [r.slug for r in records if r is not None and r.series == str(series)]


class View(Protocol):
    """Shows a run."""

    def tell(self, event: Event) -> None:
        """Show an event."""
        ...

    async def show(self, scene: Scene) -> None:
        """Show the scene until cancelled."""
        ...

    def close(self) -> None:
        """Leave the terminal to others. Safe to repeat."""
        ...


class PlainView:
    """One line per event, with the day if it is `dated`."""

    def __init__(self, console: Console, *, dated: bool = False) -> None:
        self._console = console
        self._dated = dated

    def tell(self, event: Event) -> None:
        """Print the event."""
        self._console.print(Text(event.line(dated=self._dated)), soft_wrap=True)

    async def show(self, scene: Scene) -> None:  # noqa: ARG002
        """Nothing but events is shown."""
        await asyncio.Event().wait()

    def close(self) -> None:
        """Nothing is held."""


class LiveView:
    """A screen that is drawn anew a few times a second."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def tell(self, event: Event) -> None:
        """The next screen has it."""

    async def show(self, scene: Scene) -> None:
        """Draw until cancelled; what is printed meanwhile appears above the screen."""
        self._live.start()
        try:
            while True:
                # One line less than there are: a full terminal has scrolled before it is cleared.
                self._live.update(draw(scene, self._console.height - 1), refresh=True)
                await asyncio.sleep(1 / FRAMES)
        finally:
            self.close()

    def close(self) -> None:
        """Remove the screen."""
        self._live.stop()


def draw(scene: Scene, height: int = 24) -> RenderableType:
    """Return the screen of this moment, for a terminal of `height` lines."""
    finished = sum(1 for r in scene.env.ledger if r.status is not CycleStatus.OPEN)
    room = height - _HEAD
    shown = scene.series[: max((room - _LEAST) // _MARKET, 1)]
    parts = [_head(scene)]
    if trouble := _trouble(scene):
        parts.append(_cut(f" {trouble}", "bold red"))
        room -= 1
    parts += [_market(scene, series) for series in shown]
    room -= _MARKET * len(shown)
    if hidden := len(scene.series) - len(shown):
        parts.append(Text(f" and {hidden} more series; a higher terminal shows them", "dim"))
        room -= 1
    # The lists share what is left; where it is little, events come before finished cycles.
    cycles = max(min(finished, CYCLES, room - _TABLE - 3), 1)
    if room < _TABLE + cycles + 3:
        cycles = 0
    events = min(EVENTS, room - (_TABLE + cycles if cycles else 0))
    if events > 0:
        parts.append(_events(scene.watch, events))
    if cycles:
        parts.append(_finished(scene, cycles))
    return Group(*parts)


def _head(scene: Scene) -> RenderableType:
    begun = len(scene.env.ledger)
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right", no_wrap=True)
    cash = Text.assemble(("cash ", "dim"), (f"{scene.env.account.cash:,.2f}", "bold"), " USD ")
    end = "" if scene.cycles is None else f" of {scene.cycles * len(scene.series)}"
    cycle = Text.assemble(("cycle ", "dim"), f"{begun}{end}", "   ")
    title = _cut(f" {scene.title}")
    title.stylize("bold")
    grid.add_row(title, cycle + cash)
    return grid


def _trouble(scene: Scene) -> str:
    """Return what keeps the strategy from trading, ``""`` if nothing does: it is no event of a market."""
    parts = []
    for label, count in (
        ("orders denied", Count.ORDERS_DENIED),
        ("strategy errors", Count.STRATEGY_ERRORS),
        ("event loop held up", Count.LOOP_BLOCKED),
    ):
        if reasons := scene.env.counters.reasons(count):
            parts.append(f"{label} {sum(reasons.values()):,} ({', '.join(reasons)})")
    return " · ".join(parts)


def _market(scene: Scene, series: Series) -> RenderableType:
    session = scene.trader.session(series)
    if session is None:
        text = "trading is paused until the next market appears"
        if scene.is_over(series):
            text = f"waiting for the result of {', '.join(scene.pending(series)) or 'nothing'}"
        elif never_found(scene.env, [series]):
            text = "the venue knows no market of it yet; is the series right?"
        return Panel(Text(text, "dim"), title=f"{series}: no market", title_align="left", height=6)
    market = session.market
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    table.add_column("", width=6)
    for name in ("bid", "size", "ask", "size", "held", "cost"):
        # On a narrow terminal sizes give way: of a price each digit counts.
        width = None if name in {"size", "held"} else 5
        table.add_column(name, width=width, justify="right", ratio=1, no_wrap=True)
    for outcome in Outcome:
        table.add_row(*_outcome_row(scene, session, market, outcome))
    return Panel(
        Group(table, _orders(scene, market)),
        title=Text(market.slug, "bold"),
        title_align="left",
        subtitle=_countdown(scene, market),
        subtitle_align="right",
        border_style="cyan",
    )


def _outcome_row(
    scene: Scene, session: ExchangeSession, market: Market, outcome: Outcome
) -> list[RenderableType]:
    top = session.price(outcome)
    state = scene.trader.trading(market.series).state(market)
    held = None if state is None else state.position(outcome)
    row: list[RenderableType] = [Text(outcome.value, _OUTCOMES[outcome])]
    for quote, size in ((top.bid, top.bid_size), (top.ask, top.ask_size)):
        row.append(Text(price(quote), "bold"))
        row.append("" if size is None else f"{size:.0f}")
    if held is None or held.average_price is None or not held.size:
        return [*row, "–", "–"]
    average = held.average_price.quantize(Decimal("0.001"))
    return [*row, Text(shares(held.size), "bold"), price(average)]


def _orders(scene: Scene, market: Market) -> RenderableType:
    state = scene.trader.trading(market.series).state(market)
    orders = [] if state is None else list(state.open_orders())
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("open orders  ", "dim")
    text.append("; ".join(f"{order_text(o)} {o.status}" for o in orders) or "none")
    return text


def _countdown(scene: Scene, market: Market) -> Text:
    window, now = market.window, scene.env.clock.time()
    left = max(int(window.end - now), 0)
    start, end = clock_text(window.start)[:5], clock_text(window.end)[:5]
    return Text.assemble(
        (f"{start}–{end} UTC  ", "dim"), (f"{left // 60:02}:{left % 60:02} left", "bold")
    )


def _cut(text: str, style: str = "") -> Text:
    """Return text that is cut, not wrapped, where its column is too narrow."""
    return Text(text, style, no_wrap=True, overflow="ellipsis")


def _events(watch: Watch, rows: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()  # the one that gives way on a narrow terminal
    latest = list(watch.events)[-rows:]
    for event in latest:
        style = _STYLES.get(event.kind, "")
        grid.add_row(" " + clock_text(event.time), Text(event.kind, style), _cut(event.text))
    for _ in range(rows - len(latest)):
        grid.add_row("", "", "")
    return grid


def _finished(scene: Scene, rows: int) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=True, header_style="dim")
    table.add_column(_cut("finished cycles"))
    for name in ("orders", "trades", "fees"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("result", no_wrap=True)
    table.add_column("profit", justify="right", no_wrap=True)
    finished = [r for r in scene.env.ledger if r.status is not CycleStatus.OPEN]
    for record in finished[-rows:]:
        table.add_row(
            _cut(record.slug),
            str(record.orders),
            str(record.fills),
            f"{record.fees:.2f}",
            result_text(record),
            Text(signed(record.profit), money_style(record.profit)),
        )
    return table
