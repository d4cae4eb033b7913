"""A whole run with a real wallet, everything that it leaves behind, and no secret in any of it."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import secrets
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, evolve, field
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from typing_extensions import override

from polyframe.counters import Counters
from polyframe.environment import Environment
from polyframe.errors import (
    AuthenticationFailed,
    ConfigError,
    ExchangeError,
    OrderError,
    OrderOutcomeUnknown,
    OrderRejected,
)
from polyframe.exchange.polymarket import PolymarketExchange
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.config import PolymarketHosts
from polyframe.model.order import OrderStatus
from polyframe.recording.recorder import Recorder
from polyframe.reference import ReferencePrices
from polyframe.report.ledgers import ledger_report
from polyframe.trader import Trader
from polyframe.trading.ledger import Ledger
from polyframe.venue import LocalVenue, SyntheticSource, VenueSettings
from tests.drills.kit import (
    RECONCILE,
    SERIES,
    START,
    STREAMS,
    Drill,
    DrillClock,
    Probe,
    Script,
    _settle,
)

pytest.importorskip("eth_account", reason="the extra live is not installed")
pytest.importorskip("pyarrow", reason="the extra data is not installed")

from pyarrow import parquet

from polyframe.exchange.polymarket.login import create_or_derive_credentials
from polyframe.exchange.polymarket.wallet import PrivateKey, WalletSigner


class _Log(logging.Handler):
    """Keeps every line of every logger, with tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
        self.lines: list[str] = []

    @override
    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@contextmanager
def _everything_logged() -> Iterator[_Log]:
    """Turn every logger to DEBUG, whatever it was set to."""
    handler, root = _Log(), logging.getLogger()
    names = (
        "",
        "polyframe",
        "httpx",
        "httpcore",
        "websockets",
        "uvicorn",
        "uvicorn.error",
        "asyncio",
    )
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.DEBUG)
    root.addHandler(handler)
    try:
        yield handler
    finally:
        root.removeHandler(handler)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


@define
class _Wiretap:
    """Sees what only the venue should see: headers, bodies and frames."""

    app: ASGIApp
    headers: list[dict[str, str]] = field(factory=list)
    bodies: list[str] = field(factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket."""
        self.headers.append({k.decode(): v.decode() for k, v in scope["headers"]})

        async def listen() -> Message:
            message = await receive()
            self.bodies.append((message.get("body") or b"").decode() or message.get("text") or "")
            return message

        await self.app(scope, listen, send)

    def signatures(self) -> set[str]:
        """Return the signatures of requests, logins and orders."""
        found = {h["poly_signature"] for h in self.headers if "poly_signature" in h}
        for body in self.bodies:
            if '"signature"' in body:
                orders = json.loads(body)
                for entry in orders if isinstance(orders, list) else [orders]:
                    found.add(entry["order"]["signature"].removeprefix("0x"))
        return found


@define
class _Traces:
    """What a run leaves behind, by where."""

    texts: dict[str, list[str]] = field(factory=dict)

    def add(self, where: str, *texts: object) -> None:
        """Keep some texts."""
        self.texts.setdefault(where, []).extend(
            text if isinstance(text, str) else repr(text) for text in texts
        )

    def add_files(self, where: str, folder: Path) -> None:
        """Keep every file below a folder."""
        files = [path for path in folder.rglob("*") if path.is_file()]
        self.add(where, *(path.read_bytes().decode("latin-1") for path in files))

    def add_error(self, error: BaseException) -> None:
        """Keep an exception as programs show it."""
        self.add("errors", str(error), repr(error), *traceback.format_exception(error))

    def find(self, secret: str) -> list[str]:
        """Return where a secret is."""
        wanted = secret.lower()
        return [w for w, texts in self.texts.items() if any(wanted in t.lower() for t in texts)]


async def _provoke(traces: _Traces, d: Drill, s: Probe) -> None:
    """Trade, and let go wrong what can."""
    d.inject("http_error", path="/order", method="POST", count=1, status=401, body={"error": "x"})
    with pytest.raises((OrderRejected, AuthenticationFailed)) as refused:
        await s.rest()
    traces.add_error(refused.value)
    d.inject("user_drop", seconds=0.2)
    d.inject("reply_lost", path="/order", method="POST", count=1)
    with pytest.raises(OrderOutcomeUnknown) as lost:
        await s.rest()
    traces.add_error(lost.value)
    await d.until(lambda: s.now(lost.value.order).status is OrderStatus.LIVE)
    d.inject("http_error", method="DELETE", count=2, status=500, body="Internal server error")
    try:
        await s.trading.cancel(lost.value.order)
    except (ExchangeError, OrderError) as error:
        traces.add_error(error)
    d.inject("user_disconnect", count=1)
    d.inject("user_garbage", count=2)
    d.inject("market_garbage", count=2)
    await s.take()
    await s.rest()
    await d.until(lambda: d.env.router.connected)
    traces.add("reprs", s, s.trading, s.session, s.market, s.trading.orders(), s.trading.fills())
    traces.add("reprs", await s.trading.reconcile())


async def _wrong(
    traces: _Traces, exchange: PolymarketExchange, clock: DrillClock, key: str
) -> None:
    """Collect the errors of wrong settings and of a wrong passphrase."""
    assert exchange.credentials is not None
    for bad in (key + "00", key[:-1] + "z", ""):
        with pytest.raises(ConfigError) as caught:
            PrivateKey(bad)
        traces.add_error(caught.value)
    for change in ({"secret": exchange.credentials.secret + "!"}, {"passphrase": "a\n"}):
        with pytest.raises(ConfigError) as caught:
            evolve(exchange.credentials, **change)
        traces.add_error(caught.value)
    stranger = evolve(exchange.credentials, passphrase="0" * 64)
    other = PolymarketExchange(exchange.hosts, stranger, exchange.signer)
    await other.open(clock, Counters())
    with pytest.raises(AuthenticationFailed) as failed:
        await other.fetch_balance()
    traces.add_error(failed.value)
    await other.close()


async def _run(folder: Path, key: str, traces: _Traces) -> tuple[Credentials, set[str]]:
    clock = DrillClock(START + 60)
    settings = VenueSettings(resolve_after=5.0, mined_after=1.0, confirmed_after=2.0, skew=3_600)
    source = SyntheticSource(SERIES, seed=3)
    async with asyncio.timeout(30), LocalVenue(source, clock=clock, settings=settings) as venue:
        tap = _Wiretap(venue._server._app)
        venue._server._app = tap
        signer = WalletSigner(PrivateKey(key))
        credentials = await create_or_derive_credentials(
            signer, host=f"{venue.url}/clob", clock=clock
        )
        hosts = PolymarketHosts.local(venue.url)
        exchange = PolymarketExchange(hosts, credentials, signer, redeems=True)
        exchange.stream_settings = STREAMS
        ledger, snapshots = Ledger(folder / "ledger.sqlite"), folder / "snapshots"
        snapshots.mkdir()
        env = Environment(
            exchange, clock=clock, reconcile=RECONCILE, ledger=ledger, snapshots=snapshots
        )
        prices = ReferencePrices(exchange, SERIES)
        recorder = Recorder(exchange, [SERIES], folder / "recordings", cycles=1)
        env.provide(prices)
        env.provide(recorder)
        async with env:
            trader = Trader(env)
            trader.add(Probe(), on=SERIES, on_error="raise")
            done = Drill(venue, env, trader, clock, source)
            env.provide(done)

            async def act(d: Drill, s: Probe) -> None:
                await _provoke(traces, d, s)
                await _wrong(traces, exchange, clock, key)
                await d.until(lambda: any(snapshots.rglob("*.json*")) or any(snapshots.iterdir()))
                traces.add_files("snapshots", snapshots)
                traces.add_files("recordings", recorder.folder)

            env.provide(Script([act]))
            await trader.run(cycles=1)
            await _settle(done)
            account = venue.accounts[-1]
            traces.add("credentials", credentials, f"{credentials}", exchange)
            traces.add("reprs", signer, signer.wallet, hosts, prices)
            traces.add("reprs", env, env.account, env.risk, env.settlement, env.router, trader)
            traces.add("reprs", venue, account, account.credentials, venue.settings, venue.stats)
            traces.add("reprs", *list(ledger), env.counters.snapshot(), done.reports, done.orders)
            traces.add("reprs", venue.faults, done.trades, f"{account}")
        assert recorder.failure == ""
        traces.add_files("files", folder)
        for path in recorder.folder.rglob("*.parquet"):
            # Inside it is compressed.
            rows = parquet.read_table(path).to_pylist()
            traces.add("recordings", *map(str, rows))
        with Ledger.open(folder / "ledger.sqlite") as reader:
            traces.add("reports", reader.runs(), reader.cycles(), reader.notes())
            traces.add("reports", *(reader.orders(record.slug) for record in done.records))
        report = ledger_report(folder / "ledger.sqlite")
        assert report.orders
        report.save_html(folder / "report.html")
        traces.add("reports", report, report.text(), (folder / "report.html").read_text())
    return credentials, tap.signatures()


def test_no_secret_is_left_behind(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Private key, secret, passphrase and signatures: in no log, repr, error or file; nor the key's id."""
    key, traces = secrets.token_hex(32), _Traces()
    with _everything_logged() as log:
        credentials, signatures = asyncio.run(_run(tmp_path, key, traces))
    traces.add("log", *log.lines)
    traces.add("screen", *capfd.readouterr())
    assert len(signatures) > 10
    assert {len(signature) for signature in signatures} >= {44, 130, 132}
    forbidden = {
        "private key": {key, str(int(key, 16)), base64.b64encode(bytes.fromhex(key)).decode()},
        "secret": {credentials.secret, credentials.secret.rstrip("=")},
        "passphrase": {credentials.passphrase},
        "signature": {signature.removeprefix("0x") for signature in signatures},
        "id of the key": {credentials.api_key},
    }
    # Logs cut what is long: the beginning or the end of a secret must not be there, either.
    found = {
        f"{name} in {where}"
        for name, values in forbidden.items()
        for value in values
        for part in (value[:16], value[-16:])
        for where in traces.find(part)
    }
    # The key's id is its name: it tells which credentials these are, and is shown nowhere else.
    assert found == {"id of the key in credentials"}
    # The search would have found something: what was looked through is not empty.
    assert {
        "log",
        "reprs",
        "errors",
        "snapshots",
        "files",
        "reports",
        "recordings",
    } <= traces.texts.keys()
    assert all(any(texts) for where, texts in traces.texts.items() if where != "screen")
    address = credentials.address
    assert {"reprs", "log", "snapshots"} & set(traces.find(address))
    logged = {line.split()[0].split(".")[0] for line in log.lines}
    assert {"polyframe", "httpx", "httpcore", "asyncio", "uvicorn"} <= logged


def test_a_secret_would_be_found(tmp_path: Path) -> None:
    """The search sees a secret in a text, in an object, in an exception and in a file."""
    traces = _Traces()
    try:
        raise ValueError("oh no: Hunter2Hunter2")
    except ValueError as error:
        traces.add_error(error)
    traces.add("log", "a line with hunter2hunter2")
    traces.add("reprs", {"password": "hunter2HUNTER2"})
    (tmp_path / "file").write_bytes(b"\x00\xffhunter2hunter2\x00")
    traces.add_files("files", tmp_path)
    traces.add("clean", "hunter3")
    assert traces.find("hunter2hunter2") == ["errors", "log", "reprs", "files"]
