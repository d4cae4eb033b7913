"""The live screen, on a terminal."""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console

from polyframe.cli.screen import LiveView, PlainView, Scene, draw
from polyframe.cli.watch import Event, Watch
from polyframe.counters import Count
from polyframe.model.order import OrderType
from polyframe.strategies import Threshold
from tests.cli.command import LIMIT, on_terminal, rows
from tests.cli.test_demo import PROMPT, SWALLOWER, strategy_file
from tests.support.stage import Stage, play, settle

HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A terminal of 80 columns with the command in it."""

    def __init__(self, primary: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.text = ""
        self._primary = primary
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def read(self, until: str | None = None, seconds: float = LIMIT) -> None:
        """Read until some text is there, or to the end."""
        deadline = time.monotonic() + seconds
        while until is None or until not in self.text:
            if time.monotonic() > deadline:
                raise AssertionError(f"no {until!r} in {self.text[-2000:]!r}")
            if not select.select([self._primary], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self._primary, 65_536)
            except OSError:  # Linux says so when the last writer is gone
                data = b""
            if not data:
                assert until is None, f"no {until!r} in {self.text[-2000:]!r}"
                return
            self.text += self._decoder.decode(data)  # what comes at once may end within a letter

    def press_ctrl_c(self) -> None:
        """Send what the key sends."""
        os.write(self._primary, b"\x03")


@contextmanager
def terminal(*arguments: str) -> Iterator[Terminal]:
    """Run the command as the only program of a new terminal."""
    primary, secondary = pty.openpty()
    fcntl.ioctl(secondary, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    process = on_terminal(secondary, *arguments)
    try:
        yield Terminal(primary, process)
    finally:
        process.kill()
        process.wait()
        os.close(primary)


ON_SCREEN = ("demo", "--source", "synthetic")


def test_shows_a_live_screen_and_leaves_the_table() -> None:
    """On a terminal the screen has market, countdown and events; afterwards the table stands."""
    with terminal(*ON_SCREEN, "--speed", "200", "--cycles", "2") as screen:
        screen.read()
        assert screen.process.wait(PROMPT) == 0
    plain = CONTROL.sub("", screen.text)
    for text in ("btc-updown-15m-1893", "left", "of 2 ", "open orders", "begins"):
        assert text in plain
    assert screen.text.index(HIDE_CURSOR) < screen.text.rindex(SHOW_CURSOR)
    *_, table = re.finditer("market +orders", plain)
    last = plain[table.start() :]
    assert len(rows(last)) == 2
    assert "events in" in last
    assert all(len(line) <= 80 for line in plain.replace("\r", "\n").split("\n"))


def test_ctrl_c_restores_the_terminal() -> None:
    """The key ends the screen, shows the cursor again and prints the table."""
    with terminal(*ON_SCREEN, "--speed", "60") as screen:
        screen.read(until="begins")
        screen.press_ctrl_c()
        screen.read(seconds=PROMPT)
        assert screen.process.wait(PROMPT) == 128 + signal.SIGINT
    assert screen.text.rindex(SHOW_CURSOR) > screen.text.rindex(HIDE_CURSOR)
    assert "Stopped by SIGINT" in screen.text


def test_a_forced_end_restores_the_terminal(tmp_path: Path) -> None:
    """Two presses end it by force; the cursor is visible all the same."""
    mine = strategy_file(tmp_path, SWALLOWER)
    with terminal(*ON_SCREEN, "--speed", "60", "--strategy", mine) as screen:
        screen.read(until="begins")
        screen.press_ctrl_c()
        time.sleep(0.3)  # two signals at the same instant would be one
        screen.press_ctrl_c()
        screen.read(seconds=PROMPT)
        assert screen.process.wait(PROMPT) == 128 + signal.SIGINT
    assert screen.text.rindex(SHOW_CURSOR) > screen.text.rindex(HIDE_CURSOR)


def test_plain_on_a_terminal_has_no_control_codes() -> None:
    """--plain holds for terminals as well."""
    with terminal(*ON_SCREEN, "--plain", "--speed", "200", "--cycles", "1") as screen:
        screen.read()
        assert screen.process.wait(PROMPT) == 0
    assert "\x1b" not in screen.text
    assert "begins" in screen.text


# ------------------------------------------------------------------ one screen, drawn in the test


def picture(stage: Stage, watch: Watch, *, width: int = 80, height: int = 24) -> list[str]:
    """Return the lines of the screen of this moment."""
    scene = Scene(
        stage.env,
        stage.trader,
        stage.trader.series,
        watch,
        "Threshold on btc-updown-15m, 60×",
        cycles=4,
    )
    console = Console(width=width, height=height, color_system=None, file=io.StringIO())
    with console.capture() as captured:
        console.print(draw(scene, height))
    return captured.get().splitlines()


def watched(stage: Stage, seen: list[Event], *, more: bool = True) -> Watch:
    """Return a watch of the stage that writes into `seen`."""
    return Watch(stage.env, stage.trader, seen.append, lambda _: more)


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 20), (40, 12)])
def test_the_screen_fits_its_terminal(width: int, height: int) -> None:
    """No line is wider than the terminal and there are no more of them than it has."""

    async def act(stage: Stage) -> None:
        watch = watched(stage, [])
        for cycle in range(8):
            await stage.open_cycle(cycle * 900 + 1_790_586_000)
            for _ in range(3):
                watch.add("order", "BUY 10 Up at 0.61 FAK cancelled (with a long explanation) " * 2)
        lines = picture(stage, watch, width=width, height=height)
        assert len(lines) <= height
        assert max(len(line) for line in lines) <= width

    play(act, Threshold())


def test_the_screen_shows_quotes_orders_position_and_cash() -> None:
    """What is held and what rests can be read off, and missing values are dashes."""

    async def act(stage: Stage) -> None:
        watch = watched(stage, [])
        session = await stage.open_cycle()
        handle = stage.trading.handle("Threshold")
        order = await handle.buy(
            session.market.outcome(session.market.up_token),  # type: ignore[arg-type]
            price=Decimal("0.50"),
            size=Decimal(10),
            order_type=OrderType.GTC,
        )
        assert order.is_open
        text = "\n".join(picture(stage, watch))
        assert re.search(r"Up +0\.49 +100 +0\.51 +100 +– +–", text)
        narrow = "\n".join(picture(stage, watch, width=40))
        assert re.search(r"Up +0\.49 \D*\d+\D* 0\.51 ", narrow)  # of prices nothing is cut
        assert "BUY 10 Up at 0.50 GTC live" in text
        assert "cash 1,000.00 USD" in text
        assert "15:00 left" in text

    play(act, Threshold())


def test_the_screen_says_when_trading_is_paused() -> None:
    """Between markets there is a panel that says so, and an event."""
    seen: list[Event] = []

    async def act(stage: Stage) -> None:
        watch = watched(stage, seen)
        await stage.open_cycle()
        stage.scheduler.switch(None)
        await settle()
        assert "trading is paused" in "\n".join(picture(stage, watch))

    play(act, Threshold())
    assert [event.kind for event in seen if event.kind == "pause"] == ["pause"]


def test_the_screen_tells_of_orders_that_were_denied_and_of_a_strategy_that_failed() -> None:
    """Otherwise a run in which nothing can be bought looks like one in which nothing is cheap."""

    async def act(stage: Stage) -> None:
        watch = watched(stage, [])
        await stage.open_cycle()
        assert "denied" not in "\n".join(picture(stage, watch))
        stage.env.counters.add(Count.ORDERS_DENIED, "risk_order_notional", 1_200)
        stage.env.counters.add(Count.ORDERS_DENIED, "risk_order_shares", 3)
        stage.env.counters.add(Count.STRATEGY_ERRORS, "on_price")
        lines = picture(stage, watch)
        assert len(lines) <= 24
        assert "orders denied 1,203 (risk_order_notional, risk_order_shares)" in lines[1]
        assert "strategy errors 1" in picture(stage, watch, width=120)[1]
        for height in (24, 12):
            assert max(map(len, picture(stage, watch, width=40, height=height))) <= 40
            assert len(picture(stage, watch, width=40, height=height)) <= height

    play(act, Threshold())


def test_the_screen_asks_whether_a_series_without_any_market_is_right() -> None:
    """Only once the venue said that it knows none, and not of a series that had one."""

    async def act(stage: Stage) -> None:
        watch = watched(stage, [])
        assert "is the series right?" not in "\n".join(picture(stage, watch))
        stage.env.counters.add(Count.MARKET_WAITS, "not_found")
        text = "\n".join(picture(stage, watch))
        assert "the venue knows no market of it yet; is the series right?" in text
        await stage.open_cycle()
        stage.scheduler.switch(None)
        await settle()
        assert "is the series right?" not in "\n".join(picture(stage, watch))

    play(act, Threshold())


@pytest.mark.parametrize(("height", "panels"), [(40, 3), (24, 2), (20, 1), (12, 1)])
def test_several_series_share_the_screen(height: int, panels: int) -> None:
    """As many markets as leave room for events; how many are left out is told."""

    async def act(stage: Stage) -> None:
        stage.trader.add(Threshold(), on=["eth-updown-15m", "sol-updown-15m"])
        watch = watched(stage, [])
        await stage.open_cycle()
        lines = picture(stage, watch, height=height)
        assert len(lines) <= height
        text = "\n".join(lines)
        assert text.count("no market") == panels - 1
        assert ("more series; a higher terminal" in text) is (panels < 3)
        assert "cycle 1 of 12" in text
        assert stage.session.slug in text

    play(act, Threshold())


def test_a_plain_view_prints_events_only() -> None:
    """Each event is one line."""
    console = Console(color_system=None, width=100, file=io.StringIO())
    with console.capture() as captured:
        PlainView(console).tell(Event(1_790_586_000.0, "fill", "bought 10 Up at 0.60"))
        PlainView(console, dated=True).tell(Event(1_790_586_000.0, "cycle", "begins"))
    assert captured.get() == (
        "09:00:00  fill    bought 10 Up at 0.60\n2026-09-28 09:00:00  cycle   begins\n"
    )


def test_a_live_view_can_be_closed_twice() -> None:
    """Closing is safe before it began and after it ended."""
    view = LiveView(Console(color_system=None, file=io.StringIO()))
    view.close()
    view.close()
