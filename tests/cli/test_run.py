"""``polyframe run`` as people use it: against a venue on this machine, over real sockets."""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from polyframe.cli.app import run
from polyframe.cli.new import NewProject
from polyframe.cli.options import Mode, RunOptions
from polyframe.cli.plan import Plan, make_plan
from polyframe.cli.run import clock_of, local_hosts, open_account
from polyframe.clock import ScaledClock, WallClock
from polyframe.environment import Environment
from polyframe.errors import ConfigError
from polyframe.exchange.polymarket import PolymarketHosts, WalletSigner
from polyframe.paper.exchange import PaperExchange
from polyframe.strategies import Threshold
from polyframe.trading.ledger import Ledger
from polyframe.trading.limits import RiskLimits
from tests.cli.command import LIMIT, Command, on_terminal, polyframe
from tests.support.fake import FakeExchange

pytest.importorskip("starlette")

KEY = "42" * 32
"""Of a wallet that nobody has."""

PROMPT = 20.0
"""Real seconds within which a signal ends the run, on a machine with much else to do."""

RESTING = """
from decimal import Decimal
from attrs import define, field
from polyframe import Strategy

@define
class Rest(Strategy):
    size: Decimal
    has_begun: bool = field(init=False, default=False)

    async def on_price(self, event):
        # The outcome that leads: late in the day the other one may be offered for a cent.
        if (event.bid or 0) >= Decimal("0.4") and not self.has_begun:
            self.has_begun = True
            await self.trading.buy(event.outcome, price=Decimal("0.01"), size=self.size, post_only=True)
            print("it rests", flush=True)
"""


@contextmanager
def local_venue(*more: str) -> Iterator[str]:
    """Give the URL of a venue in a process of its own."""
    with Command("venue", "--synthetic", "--json", *more) as venue:
        url: str = json.loads(venue.wait_line(r"^\{"))["url"]
        yield url


@pytest.fixture
def resting(tmp_path: Path) -> str:
    """Return the name of a strategy that rests an order far from the market."""
    path = tmp_path / "rest.py"
    path.write_text(RESTING)
    return f"{path}:Rest"


def options(strategy: str, **changes: Any) -> RunOptions:
    """Return options that ask for nothing but a strategy, and `changes`."""
    plain = RunOptions(
        strategy=strategy,
        series=(),
        settings=(),
        limits=(),
        cycles=None,
        cash="",
        data=None,
        ledger=None,
        venue="",
        mode=None,
        confirm="",
        plain=True,
        verbose=False,
    )
    return evolve(plain, **changes)


def orders(path: Path) -> list[str]:
    """Return the last status of each order in a ledger."""
    with Ledger.open(path) as ledger:
        slugs = [entry.record.slug for entry in ledger.cycles()]
        return [order.status.value for slug in slugs for order in ledger.orders(slug)]


# ------------------------------------------------------------------ whole runs


def test_a_project_trades_two_cycles_on_paper(tmp_path: Path) -> None:
    """By the venue's own clock, with the settings of its file; a row for each cycle, and a ledger."""
    NewProject("fading", tmp_path / "fading").write()
    file = tmp_path / "fading" / "settings.toml"
    series = "btc-updown-5m"
    with local_venue("--speed", "150", "--series", series) as url:
        more = ("--venue", url, "--on", series, "--cycles", "2", "--set", "limit=0.48")
        done = polyframe("run", str(file), *more)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith(f" {series}-")]
    assert len(rows) == 2
    assert "Account: on paper, no real money." in done.stdout
    ledger = tmp_path / "fading" / "data" / "local.sqlite"
    assert f"More: polyframe report {ledger}" in done.stdout
    with Ledger.open(ledger) as story:
        assert [run.mode for run in story.runs()] == ["paper"]
        assert len(story.cycles()) == 2


@pytest.mark.parametrize(
    ("number", "mode", "account"),
    [
        (signal.SIGTERM, "paper", "on paper, no real money"),
        (signal.SIGINT, "live", "wallet 0x17c5185167401eD00cF5F5b2fc97D9BBfDb7D025, no real money"),
    ],
)
def test_a_signal_in_mid_cycle_leaves_no_order(
    resting: str, tmp_path: Path, number: signal.Signals, mode: str, account: str
) -> None:
    """What rests is cancelled before the end, on paper and with a wallet's signed orders."""
    pytest.importorskip("coincurve")
    series = "btc-updown-1d"  # its end is far away
    with local_venue("--series", series) as url:
        more = ("--set", "size=100", "--venue", url, "--data", str(tmp_path), "--mode", mode)
        arguments = ("run", resting, "--on", series, "--plain", *more)
        with Command(*arguments, POLYMARKET_PRIVATE_KEY=KEY) as command:
            command.wait_line("^it rests$")
            command.wait_line("BUY 100 (Up|Down) at 0.01 post-only accepted")
            command.signal(number)
            assert command.wait(PROMPT) == 128 + number
            assert f"Stopped by {number.name}." in command.output
            assert f"Account: {account}." in command.output
            assert "STILL OPEN" not in command.output
            assert "Traceback" not in command.errors
            assert KEY not in command.output + command.errors
    assert orders(tmp_path / "local.sqlite") == ["cancelled"]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such terminals on Windows")
def test_a_terminal_that_goes_away_leaves_no_order(resting: str, tmp_path: Path) -> None:
    """Its loss ends a run as Ctrl-C does, also if it is told twice, and no write to it fails."""
    series = "btc-updown-1d"
    with local_venue("--series", series) as url:
        more = ("--set", "size=100", "--venue", url, "--data", str(tmp_path))
        terminal, inside = os.openpty()
        with (tmp_path / "errors").open("wb") as errors:
            run = on_terminal(inside, "run", resting, "--on", series, *more, errors=errors)
        try:
            seen, deadline = b"", time.monotonic() + LIMIT
            while b"accepted" not in seen:
                assert time.monotonic() < deadline, seen
                if select.select([terminal], [], [], 1.0)[0]:
                    seen += os.read(terminal, 65536)
            os.close(terminal)
            run.send_signal(signal.SIGHUP)
            assert run.wait(PROMPT) == 128 + signal.SIGHUP
        finally:
            run.kill()
            run.wait()
    assert "Traceback" not in (tmp_path / "errors").read_text()
    assert orders(tmp_path / "local.sqlite") == ["cancelled"]


def test_real_money_needs_the_sentence_of_its_wallet(tmp_path: Path) -> None:
    """With another one nothing is sent: exit code 2, and what to say; the key is not shown."""
    pytest.importorskip("coincurve")
    real = ("run", "threshold", "--mode", "live", "--plain", "--confirm", "real money of 0x1")
    done = polyframe(*real, "--data", str(tmp_path), POLYMARKET_PRIVATE_KEY=KEY)
    assert (done.returncode, done.stdout) == (2, "")
    assert 'say --confirm "real money of 0x17c5185167401eD00cF5F5b2fc97D9BBfDb7D025"' in done.stderr
    assert KEY not in done.stderr


def test_a_venue_that_is_not_there_or_not_here_is_refused() -> None:
    """Orders and keys go to this machine or to the real venue, to nobody else."""
    for url, text in (
        ("https://example.com", "venue: expected the URL of a venue on this machine"),
        ("nonsense", "venue: expected a URL such as"),
    ):
        with pytest.raises(ConfigError, match=text):
            local_hosts(url)
    done = polyframe("run", "threshold", "--plain", "--venue", "http://127.0.0.1:1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "polyframe run: venue: nobody answers at http://127.0.0.1:1; start one with polyframe venue\n"
    )


# ------------------------------------------------------------------ parts


def test_the_clock_is_that_of_the_venue() -> None:
    """As fast and as late as a venue on this machine says; ours, if it goes by that or says nothing."""
    from polyframe.venue import LocalVenue, SyntheticSource

    async def main() -> None:
        source = SyntheticSource("btc-updown-5m", seed=1)
        theirs = ScaledClock(7, start=1_893_456_000)
        async with LocalVenue(source, clock=theirs) as venue:
            before = theirs.time()
            found = await clock_of(venue.url)
            after = theirs.time()
            assert isinstance(found, ScaledClock)
            assert found.speed == 7
            assert abs(found.time() - theirs.time()) <= after - before + 0.1
            assert isinstance(await clock_of(f"{venue.url}/gamma"), WallClock)
        async with LocalVenue(source, clock=WallClock()) as venue:
            assert isinstance(await clock_of(venue.url), WallClock)

    asyncio.run(main())


def test_the_sentence_is_not_asked_for_where_no_real_money_is(tmp_path: Path) -> None:
    """At the real venue it is compared before anything is sent; on paper no wallet is looked for."""

    async def account(plan: Plan, hosts: PolymarketHosts) -> object:
        return (await open_account(plan, "no", hosts, WallClock())).exchange

    paper = make_plan(options("threshold"))
    assert isinstance(asyncio.run(account(paper, PolymarketHosts())), PaperExchange)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("POLYMARKET_PRIVATE_KEY", KEY)
        patch.setattr("polyframe.cli.run.create_or_derive_credentials", None)  # nobody may be asked
        pytest.importorskip("coincurve")
        assert WalletSigner.from_env().maker.startswith("0x17c5")
        with pytest.raises(ConfigError, match=r"data: with real money .* say --data FOLDER"):
            make_plan(options("threshold", mode=Mode.LIVE))
        live = make_plan(options("threshold", mode=Mode.LIVE, data=tmp_path))
        with pytest.raises(ConfigError, match="confirm: to trade with real money, say --confirm"):
            asyncio.run(account(live, PolymarketHosts()))
        patch.delenv("POLYMARKET_PRIVATE_KEY")
        with pytest.raises(
            ConfigError, match="set the environment variable POLYMARKET_PRIVATE_KEY"
        ):
            asyncio.run(account(live, PolymarketHosts()))


def test_a_plan_without_a_file_is_careful() -> None:
    """On paper, with 1,000 USD, on the series of the documents, and nothing is kept."""
    plan = make_plan(options("threshold"))
    assert plan == Plan(
        name="threshold",
        strategy=Threshold(),
        series=plan.series,
        limits=RiskLimits(),
        cash=Decimal(1000),
        is_live=False,
        venue="",
        ledger=None,
        snapshots=None,
        account=None,
        cycles=None,
    )
    assert [str(series) for series in plan.series] == ["btc-updown-15m"]


def test_options_come_before_what_a_file_says(tmp_path: Path) -> None:
    """Each entry can be replaced; numbers are read as strategy and limits declare them."""
    NewProject("fading", tmp_path).write()
    file = str(tmp_path / "settings.toml")
    plan = make_plan(options(file))
    assert plan.cash == 1000
    assert getattr(plan.strategy, "limit") == Decimal("0.45")  # noqa: B009
    assert plan.limits.max_run_loss == Decimal(50)
    folder = tmp_path / "data"
    assert (plan.ledger, plan.snapshots, plan.account) == (
        folder / "paper.sqlite",
        folder / "snapshots-paper",
        folder / "account",
    )
    changed = make_plan(
        options(
            file,
            series=("eth-updown-5m", "btc-updown-5m", "eth-updown-5m"),
            settings=("limit=0.30", "cutoff=5"),
            limits=("max_run_loss=7",),
            cash="250",
            data=tmp_path / "other",
            ledger=tmp_path / "mine.sqlite",
            mode=Mode.LIVE,
        )
    )
    assert [str(series) for series in changed.series] == ["eth-updown-5m", "btc-updown-5m"]
    strategy = changed.strategy
    assert getattr(strategy, "limit") == Decimal("0.30")  # noqa: B009
    assert getattr(strategy, "size") == Decimal(10)  # noqa: B009
    assert (changed.limits.max_run_loss, changed.limits.max_order_notional) == (
        Decimal(7),
        Decimal(10),
    )
    assert (changed.cash, changed.is_live) == (Decimal(250), True)
    assert (changed.ledger, changed.account) == (tmp_path / "mine.sqlite", None)
    assert changed.snapshots == tmp_path / "other" / "snapshots-live"


def test_a_file_alone_never_means_real_money(tmp_path: Path) -> None:
    """A mode other than paper has to be said on the command line."""
    NewProject("fading", tmp_path).write()
    file = tmp_path / "settings.toml"
    text = file.read_text()
    for mode in ("live", "local"):
        file.write_text(text.replace('mode = "paper"', f'mode = "{mode}"'))
        with pytest.raises(ConfigError, match=f"says '{mode}'.* say --mode paper, or --mode live"):
            make_plan(options(str(file)))
        assert not make_plan(options(str(file), mode=Mode.PAPER)).is_live
        assert make_plan(options(str(file), mode=Mode.LIVE)).is_live


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("nonsense",), "strategy: expected a name that ships ("),
        (("nowhere.py:Mine",), "strategy: there is no file nowhere.py"),
        (("threshold", "--on", "btc"), 'series: expected "<asset>-updown-<period>"'),
        (("threshold", "--set", "size=many"), "size: expected Decimal, got 'many'"),
        (("threshold", "--set", "sizes=1"), "sizes: Threshold has no such setting; it has: "),
        (("threshold", "--limit", "max_run_loss=-1"), "max_run_loss: expected a Decimal, above 0"),
        (
            ("threshold", "--limit", "max_run_loss=1,2"),
            "limit: max_run_loss has 2 values; name one",
        ),
        (("threshold", "--cash", "0"), "cash: expected USD above 0, got '0'"),
        (("nowhere.toml",), "settings: nowhere.toml cannot be read: No such file"),
    ],
)
def test_what_cannot_be_is_a_sentence(
    arguments: tuple[str, ...], text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """It names the option, and the exit code is 2."""
    assert run(["run", *arguments]) == 2
    out, error = capfd.readouterr()
    assert out == ""
    assert error.startswith(f"polyframe run: {text}")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("colour = 1", "settings.toml has an unknown entry colour; there is class, "),
        ("mode = 'paper'", "class: .*settings.toml does not say which strategy it is for"),
        ("class = 'threshold'\nmode = 'fast'", "mode: expected one of local, paper, live"),
        ("class = 'threshold'\nseries = 'btc'", "series: expected a list such as"),
        ("class = 'threshold'\ncash = -1", "cash: expected USD above 0"),
        ("class = 'threshold'\nstrategy = 1", r"strategy: expected a table \[strategy\]"),
        ("class = 'threshold'\n[strategy]\nsize = [1]", "strategy.size: expected one value"),
        ("class = 'threshold'\n[strategy]\nsize = true", "size: expected Decimal, got 'True'"),
        ("class = 'threshold'\n[strategy]\nsize = inf", "size: expected Decimal, got 'Infinity'"),
        ("class = 'threshold'\n[limits]\nmax_run_loss = nan", "max_run_loss: expected .* 'NaN'"),
        ("class = 'threshold'\n[limits]\nmax_loss = 1", "max_loss: RiskLimits has no such setting"),
        ("class = 'gone.py:Mine'", "strategy: there is no file .*gone.py"),
        ("mode =", "settings: .*settings.toml is no TOML"),
    ],
)
def test_a_wrong_entry_is_named(text: str, named: str, tmp_path: Path) -> None:
    """A typing mistake in the file is an error, not a default."""
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=named):
        make_plan(options(str(path)))


@pytest.mark.parametrize("part", ["account", "snapshots-paper"])
def test_a_folder_that_another_run_uses_is_refused(part: str, tmp_path: Path) -> None:
    """Two runs would take each other's orders: the second names the option that it was given."""

    async def main() -> None:
        async with Environment(FakeExchange(), snapshots=tmp_path / part):
            done = await asyncio.to_thread(polyframe, "run", "threshold", "--data", str(tmp_path))
        assert done.returncode == 2
        folder = f"data: {tmp_path / part} is in use by another"
        assert done.stderr.startswith(f"polyframe run: {folder}")
        assert done.stderr.count("\n") == 1

    asyncio.run(main())


def test_places_that_cannot_be_written_are_told_before_the_run(tmp_path: Path) -> None:
    """No market is traded whose ledger would be lost."""
    (tmp_path / "file").touch()
    for name in ("data", "ledger"):
        place: dict[str, Any] = {name: tmp_path / "file" / "x" / "y"}
        with pytest.raises(ConfigError, match=f"{name}: .* cannot be written"):
            make_plan(options("threshold", **place))
    with pytest.raises(ConfigError, match=r"data: .* cannot be written \(it is a file\)"):
        make_plan(options("threshold", data=tmp_path / "file"))
