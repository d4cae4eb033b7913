"""``polyframe demo`` as people see it: output, exit codes, and how it ends."""

from __future__ import annotations

import importlib.util
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import polyframe as package
from polyframe.cli.app import run
from polyframe.cli.demo import SYNTHETIC_START, fit_strategy
from polyframe.cli.loading import SHIPPED
from polyframe.cli.options import Source
from polyframe.strategies import MarketMaker, Momentum
from polyframe.strategies.blocks.fairvalue import PriceModel
from tests.cli.command import FAST, LIMIT, Command, complaints, environment, polyframe, rows

PROMPT = 20.0
"""Real seconds within which a signal ends the demo: 5, and more where others use the machine, too."""

needs_data = pytest.mark.skipif(
    importlib.util.find_spec("resolvedkit") is None or importlib.util.find_spec("pyarrow") is None,
    reason="the recording is not installed (extra 'data')",
)


# ------------------------------------------------------------------ a natural end


def test_plays_its_cycles_and_reports_them() -> None:
    """Two cycles end with exit code 0, a row for each, totals and counters, and nothing on stderr."""
    done = polyframe("demo", *FAST, "--cycles", "2", "--seed", "1")
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    markets = rows(done.stdout)
    starts = [int(row[0].removeprefix("btc-updown-15m-")) - SYNTHETIC_START for row in markets]
    assert len(starts) == 2  # the first two, unless the machine was too busy for them
    assert starts == sorted(starts)
    assert all(start >= 0 and start % 900 == 0 for start in starts)
    for row in markets:
        _slug, orders, _trades, _fees, _winner, won, profit = row
        assert int(orders) <= 1  # threshold enters once
        assert won == "won"  # it waited for the resolution
        float(profit)
    for label in ("total", "events in", "gated", "stale commands", "reconnects"):
        assert label in done.stdout
    assert "\x1b" not in done.stdout
    assert "begins" in done.stdout


@needs_data
def test_the_recording_is_the_default_and_its_source_is_named() -> None:
    """Without --source real order books are replayed, under the name of who recorded them."""
    done = polyframe("demo", "--plain", "--speed", "200", "--cycles", "1")
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert "Order books: Resolved Markets (resolvedkit), CC BY 4.0" in done.stdout
    (row,) = rows(done.stdout)
    assert 1_790_586_000 <= int(row[0].removeprefix("btc-updown-15m-")) <= 1_790_602_200
    assert row[5] == "won"


# ------------------------------------------------------------------ options


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give messages of options the same room everywhere."""
    monkeypatch.setenv("COLUMNS", "100")


def told(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Return exit code, output and errors of a command that ends before it takes signals over."""
    code = run(arguments)
    out, error = capfd.readouterr()
    return code, " ".join(out.replace("│", " ").split()), error


def test_version(capfd: pytest.CaptureFixture[str]) -> None:
    """--version prints the package's version."""
    assert told(capfd, "--version") == (0, f"polyframe {package.__version__}", "")


@pytest.mark.usefixtures("wide")
def test_help_tells_how_to_end_it(capfd: pytest.CaptureFixture[str]) -> None:
    """The help names every option, what ships, and what Ctrl-C does."""
    code, text, _ = told(capfd, "demo", "--help")
    assert code == 0
    for word in ("--cycles", "--speed", "--strategy", "--set", "--source", "--seed", "--plain"):
        assert word in text
    assert f"({', '.join(SHIPPED)})" in text
    assert "Ctrl-C" in text
    assert "exit code 130" in text


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    ("command", "defaults"),
    [
        ("demo", ["default: 4", "default: real"]),
        ("run", ["default: btc-updown-15m", "default: all", "default: 1000", "default: paper"]),
        ("record", ["default: recordings", "default: all"]),
        ("venue", ["default: btc-updown-15m"]),
        ("report", ["default: all"]),
        ("backtest", ["default: all", "default: 10000"]),
        ("sweep", ["default: one for each core", "default: profit"]),
        ("new", ["default: a new folder NAME"]),
    ],
)
def test_help_tells_what_happens_without_an_option(
    command: str, defaults: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    """Also where that is no value but a habit."""
    code, text, _ = told(capfd, command, "--help")
    assert code == 0
    for default in defaults:
        assert f"[{default}]" in text


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cycles", "0"], "--cycles"),
        (["--speed", "0"], "expected a number above 0, got 0"),
        (["--speed", "nan"], "expected a number above 0, got nan"),
        (["--speed", "901"], "expected at most 900, a cycle"),
        (["--source", "tape"], "--source"),
        (["--strategy", "martingale"], "strategy: expected a name that ships ("),
        (["--strategy", "nowhere.py:Mine"], "strategy: there is no file nowhere.py"),
        (["--strategy", "no.where:Mine"], "strategy: there is no module no.where"),
        (
            ["--strategy", "polyframe.strategies.threshold:Mine"],
            "has no Mine; strategies there: Threshold",
        ),
        (["--strategy", "polyframe.strategy:Strategy"], "is no polyframe.Strategy"),
    ],
)
def test_a_wrong_option_is_explained(
    arguments: list[str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """A value that cannot be ends with exit code 2 and a sentence that names the option."""
    code, _, error = told(capfd, "demo", *FAST, *arguments)
    assert code == 2
    assert message in error


@needs_data
def test_momentum_is_told_before_it_starts_that_no_prices_were_recorded(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It could not trade recorded books: exit code 2, and where there are prices."""
    code, out, error = told(capfd, "demo", "--plain", "--strategy", "momentum")
    assert (code, out) == (2, "")
    assert "Momentum follows reference prices, and none were recorded" in error
    assert "--source synthetic" in error


def test_synthetic_markets_have_reference_prices(tmp_path: Path) -> None:
    """A strategy finds the prices that decide its market; those that ship know what they are."""
    done = polyframe(
        *("demo", "--plain", "--source", "synthetic", "--speed", "200", "--cycles", "1"),
        *("--strategy", strategy_file(tmp_path, FOLLOWER)),
    )
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert "price to beat known: True, final: True" in done.stdout
    for strategy in (Momentum(), MarketMaker()):
        fitted = fit_strategy(strategy, Source.SYNTHETIC)
        assert isinstance(fitted, Momentum | MarketMaker)
        assert fitted.model is PriceModel.LAST
    own = Momentum(model=PriceModel.SPOT)
    assert fit_strategy(own, Source.SYNTHETIC) is own


@needs_data
def test_it_ends_with_the_recording() -> None:
    """If the first markets were missed, it ends when no more come, and says how many there were."""
    late = "import sys; from polyframe.cli import app, demo; demo.LEAD = -16_650.0"
    code = f"{late}; sys.exit(app.run(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "demo", "--plain", "--speed", "900", "--cycles", "18"],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"The recording is over after [01] of 18 cycles\.", done.stdout)
    assert [row[0] for row in rows(done.stdout)] in ([], ["btc-updown-15m-1790602200"])


@needs_data
def test_more_cycles_than_the_recording_has(capfd: pytest.CaptureFixture[str]) -> None:
    """The message says how many there are and where there are more."""
    code, _, error = told(capfd, "demo", "--plain", "--cycles", "19")
    assert code == 2
    assert "18 markets" in error
    assert "--source synthetic" in error


@pytest.mark.parametrize("missing", ["typer", "rich", "starlette", "uvicorn"])
def test_a_missing_extra_is_a_sentence(missing: str) -> None:
    """Without one of the optional packages the command says what to install."""
    code = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv[1:] = ['demo', '--plain']; "
        "from polyframe.cli import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode == 2
    assert "pip install '.[venue,data]'" in done.stderr
    assert missing in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------ strategies of one's own

_HEAD = """
import asyncio, threading, time
from attrs import define
from polyframe import Strategy
"""

TALKER = """
@define
class Mine(Strategy):
    async def on_cycle_start(self):
        print("talker: start", flush=True)

    async def on_cycle_end(self, reason):
        print("talker: end", reason.value, flush=True)
"""

SETTLED = """
@define
class Mine(Strategy):
    size: int
    word: str = "low"

    async def on_cycle_start(self):
        print("settings:", self.size, self.word, flush=True)
"""

SWALLOWER = """
@define
class Mine(Strategy):
    async def run(self):
        print("stuck", flush=True)
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
"""

BLOCKER = """
@define
class Mine(Strategy):
    async def run(self):
        print("stuck", flush=True)
        while True:
            try:
                time.sleep(3600)
            except BaseException:
                pass
"""

THREADER = """
@define
class Mine(Strategy):
    async def run(self):
        print("stuck", flush=True)
        await asyncio.to_thread(threading.Event().wait)
"""

FOLLOWER = """
from polyframe import ReferencePrices

@define
class Mine(Strategy):
    async def run(self):
        beat = await self.env.get(ReferencePrices).wait_price_to_beat(self.market)
        print(f"price to beat known: {beat.is_known}, final: {beat.is_final}", flush=True)
"""

RAISER = """
@define
class Mine(Strategy):
    async def on_cycle_start(self):
        raise RuntimeError("the strategy's own mistake")
"""


def strategy_file(folder: Path, body: str) -> str:
    """Write a module with a strategy ``Mine`` and return its name for --strategy."""
    path = folder / "mine.py"
    path.write_text(_HEAD + body)
    return f"{path}:Mine"


def test_runs_a_strategy_of_ones_own(tmp_path: Path) -> None:
    """--strategy path/to/file.py:ClassName mounts that class."""
    mine = strategy_file(tmp_path, TALKER)
    done = polyframe("demo", *FAST, "--cycles", "2", "--strategy", mine)
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert done.stdout.count("talker: start") == 2
    assert done.stdout.count("talker: end boundary") == 2


def test_settings_are_given_as_to_a_back_test(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """--set reaches the strategy, also one without a default, and is named in the first line."""
    mine = strategy_file(tmp_path, SETTLED)
    more = ("--cycles", "1", "--strategy", mine)
    done = polyframe("demo", *FAST, *more, "--set", "size=7", "--set", "word=high")
    assert (done.returncode, complaints(done.stderr)) == (0, "")
    assert f"strategy {mine} (size=7, word=high)" in done.stdout
    assert "settings: 7 high" in done.stdout
    code, out, error = told(capfd, "demo", *FAST, *more)
    assert (code, out) == (2, "")
    assert "give its fields defaults, or say --set size=…" in error


def test_a_strategy_that_raises_is_counted_and_the_cycle_goes_on(tmp_path: Path) -> None:
    """An exception of the strategy is on stderr and in the report; the demo ends naturally."""
    mine = strategy_file(tmp_path, RAISER)
    done = polyframe("demo", *FAST, "--cycles", "1", "--strategy", mine)
    assert done.returncode == 0
    assert "the strategy's own mistake" in done.stderr
    assert "strategy errors" in done.stdout
    assert "on_cycle_start 1" in done.stdout


@pytest.mark.parametrize("body", [SWALLOWER, THREADER], ids=["swallows", "thread"])
def test_a_strategy_that_never_ends_does_not_keep_the_process(tmp_path: Path, body: str) -> None:
    """A task that swallows its cancellation, or a thread, is abandoned at the natural end."""
    mine = strategy_file(tmp_path, body)
    done = polyframe("demo", *FAST, "--cycles", "1", "--strategy", mine)
    assert done.returncode == 0
    assert len(rows(done.stdout)) == 1


# ------------------------------------------------------------------ signals

SLOW = ("--plain", "--source", "synthetic", "--speed", "60")


def test_ctrl_c_after_the_first_line() -> None:
    """While everything is still starting, SIGINT ends the demo in time with 130."""
    with Command("demo", *SLOW) as demo:
        demo.wait_line("cycles of btc-updown-15m")
        demo.signal(signal.SIGINT)
        assert demo.wait(PROMPT) == 130
        assert "Traceback" not in demo.errors


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
def test_a_signal_in_mid_cycle(tmp_path: Path, number: signal.Signals, code: int) -> None:
    """The strategy gets on_cycle_end, and the table of what was done so far is printed."""
    with Command("demo", *SLOW, "--strategy", strategy_file(tmp_path, TALKER)) as demo:
        demo.wait_line("talker: start")
        demo.signal(number)
        assert demo.wait(PROMPT) == code
        assert "talker: end shutdown" in demo.output
        assert f"Stopped by {number.name}" in demo.output
        (row,) = rows(demo.output)
        assert row[4:6] == ["not", "resolved"]
        assert "trading is paused" not in demo.output
        assert complaints(demo.errors) == ""


def test_ctrl_c_while_it_waits_for_the_result() -> None:
    """After the last cycle, before its resolution, the table says that it is not resolved."""
    with Command(
        "demo", "--plain", "--source", "synthetic", "--speed", "100", "--cycles", "1"
    ) as demo:
        demo.wait_line("is over")
        demo.signal(signal.SIGINT)
        code = demo.wait(PROMPT)
        (row,) = rows(demo.output)
        # On a busy machine the result may be there before the signal.
        resolved = row[5] == "won"
        assert code == 130 or (resolved and code == 0)
        assert resolved or row[4:6] == ["not", "resolved"]
        assert complaints(demo.errors) == ""


@pytest.mark.parametrize(
    "body", [SWALLOWER, BLOCKER, THREADER], ids=["swallows", "blocks", "thread"]
)
def test_a_stuck_strategy_cannot_hold_up_the_end(tmp_path: Path, body: str) -> None:
    """Whatever a strategy is stuck in, SIGINT ends the process in time, with the table and why."""
    with Command("demo", *SLOW, "--strategy", strategy_file(tmp_path, body)) as demo:
        demo.wait_line("^stuck$")
        demo.signal(signal.SIGINT)
        assert demo.wait(PROMPT) == 130
        assert len(rows(demo.output)) == 1
        assert "events in" in demo.output
        assert "Stopped by SIGINT" in demo.output


def test_a_reader_that_goes_away_ends_it_in_order() -> None:
    """In a pipe whose reader has left (``| head``) the demo ends by itself, without noise."""
    with subprocess.Popen(
        [sys.executable, "-m", "polyframe", "demo", *FAST],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        assert process.wait(LIMIT) == 128 + signal.SIGPIPE
        assert complaints(process.stderr.read()) == ""


def test_a_second_ctrl_c_ends_it_at_once(tmp_path: Path) -> None:
    """Nothing is waited for after the second signal."""
    with Command("demo", *SLOW, "--strategy", strategy_file(tmp_path, BLOCKER)) as demo:
        demo.wait_line("^stuck$")
        demo.signal(signal.SIGINT)
        time.sleep(0.3)  # two signals at the same instant would be one
        demo.signal(signal.SIGINT)
        assert demo.wait(PROMPT) == 130
        assert "events in" not in demo.output  # the report that the deadline would have printed
