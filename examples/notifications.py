"""Messages to somewhere else: a line to a web hook for each cycle that ended, and for each warning.

What is told comes from the ledger's records and from the log. It goes through a short queue and a task of
its own, so that a web hook that hangs holds up no trading. Tokens of a real web hook belong into an
environment variable; records and log lines hold no secrets.

Run it with ``python examples/notifications.py``. It prints what a web hook on this
machine, which stands for yours, was sent.
"""

import asyncio
import logging
from contextlib import suppress
from decimal import Decimal

import httpx
from attrs import define, field

from polyframe import (
    Clock,
    Counters,
    CycleRecord,
    CycleStatus,
    Environment,
    OrderError,
    PolymarketExchange,
    PriceChanged,
    ScaledClock,
    SharedService,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"


class Notifier(SharedService):
    """Sends texts to a web hook, in order, and drops them rather than wait.

    Args:
        url: Where they are posted, as JSON with the key ``text``.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._texts: asyncio.Queue[str | None] = asyncio.Queue(100)
        self._task: asyncio.Task[None] | None = None
        self._handler = WarningHandler(self)

    async def open(self, clock: Clock, counters: Counters) -> None:
        """Begin to send."""
        self._task = asyncio.create_task(self._send(), name="notifier")
        logging.getLogger("polyframe").addHandler(self._handler)

    async def close(self) -> None:
        """Send what is left, for two seconds at most."""
        logging.getLogger("polyframe").removeHandler(self._handler)
        self.tell(None)
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=2)
            self._task.cancel()

    def tell(self, text: str | None) -> None:
        """Say something; it never waits."""
        with suppress(asyncio.QueueFull):
            self._texts.put_nowait(text)

    def on_record(self, record: CycleRecord) -> None:
        """Tell of a cycle whose result is final."""
        if record.status is CycleStatus.RESOLVED:
            self.tell(f"{record.slug}: {record.fills} fills, profit {record.profit:+.2f} USD")

    async def _send(self) -> None:
        async with httpx.AsyncClient(timeout=5, trust_env=False) as client:
            while (text := await self._texts.get()) is not None:
                with suppress(httpx.HTTPError):
                    await client.post(self._url, json={"text": text})


class WarningHandler(logging.Handler):
    """Gives warnings and errors of the log to a notifier; records come in the event loop's thread."""

    def __init__(self, notifier: Notifier) -> None:
        super().__init__(logging.WARNING)
        self._notifier = notifier

    def emit(self, record: logging.LogRecord) -> None:
        """Tell of one line."""
        self._notifier.tell(f"{record.levelname}: {record.getMessage()}")


@define
class CheapSide(Strategy):
    """Buys the first outcome that is offered cheaply, and worries about it."""

    has_bought: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        """Act on the latest best prices of one outcome."""
        if (
            self.has_bought
            or event.ask is None
            or not Decimal("0.2") <= event.ask <= Decimal("0.6")
        ):
            return
        self.has_bought = True
        self.log.warning("buys %s at %s", event.outcome, event.ask)
        try:
            await self.trading.buy(event.outcome, price=event.ask, size=Decimal(10))
        except OrderError as error:
            self.log.info("not bought: %s", error)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be the web hook: print each message, and say that it came."""
    with suppress(asyncio.IncompleteReadError):
        while head := await reader.readuntil(b"\r\n\r\n"):
            lines = head.decode().lower().split("\r\n")
            length = next(int(x.split(":")[1]) for x in lines if x.startswith("content-length"))
            print("hook:", (await reader.readexactly(length)).decode())
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    writer.close()


async def main() -> None:
    """Trade one cycle."""
    clock = ScaledClock(speed=75, start=1_893_456_000)
    hook = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = hook.sockets[0].getsockname()[1]
    async with hook, LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        exchange = PolymarketExchange.local(venue.url, venue.account)
        env = Environment(exchange, clock=clock)
        notifier = Notifier(f"http://127.0.0.1:{port}/")
        env.provide(notifier)
        env.ledger.subscribe(notifier.on_record)
        async with env:
            trader = Trader(env)
            trader.add(CheapSide(), on=SERIES)
            await trader.run(cycles=1)
            await env.settlement.wait_settled()


if __name__ == "__main__":
    asyncio.run(main())
