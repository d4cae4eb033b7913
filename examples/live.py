"""Trading with real money, which takes two opt-ins, and the same program on the local venue.

The first opt-in is a wallet: its key in the environment (``POLYMARKET_PRIVATE_KEY``, and for most
accounts ``POLYMARKET_FUNDER`` and ``POLYMARKET_SIGNATURE_TYPE``). The second is a sentence on the command
line that names whose money it is. Without both of them this program explains itself and ends with exit
code 2; nothing is signed and nothing is sent. Read docs/live.md first. It needs the extra "live".

Run it with ``python examples/live.py``, which explains, or with ``python examples/live.py --local``, which
trades one cycle at a venue on this machine with a wallet that is made up: signatures are real, money is
not. It prints what it bids, and what is left of the cash.
"""

import argparse
import asyncio
import secrets
import sys
from decimal import Decimal

from attrs import define

from polyframe import (
    Clock,
    ConfigError,
    CycleEndReason,
    Environment,
    Ledger,
    OrderError,
    Outcome,
    PolymarketExchange,
    PolymarketHosts,
    PrivateKey,
    RiskLimits,
    ScaledClock,
    Strategy,
    Trader,
    TraderSettings,
    WallClock,
    WalletSigner,
    create_or_derive_credentials,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"

LIMITS = RiskLimits(
    max_order_notional=Decimal(2),
    max_cycle_notional=Decimal(5),
    max_run_loss=Decimal(10),
)
"""Begin with what you can lose, and the smallest order that there is."""


@define
class SmallBid(Strategy):
    """Bids for the smallest number of shares far below the market, and takes the bid back."""

    async def on_cycle_start(self) -> None:
        """Place one order that nobody is likely to meet."""
        try:
            order = await self.trading.buy(
                Outcome.UP, price=Decimal("0.10"), size=Decimal(10), post_only=True
            )
        except OrderError as error:
            self.log.warning("no bid: %s", error)
            return
        print(f"{self.market.slug}: {order.status} bid {order.price} for {order.size}")

    async def on_cycle_end(self, reason: CycleEndReason) -> None:
        """Cancels still pass here."""
        await self.trading.cancel_all()


async def trade(
    exchange: PolymarketExchange, clock: Clock, cycles: int | None, ledger: Ledger
) -> None:
    """Trade: the same for real money and for none."""
    async with Environment(exchange, clock=clock, risk=LIMITS, ledger=ledger) as env:
        trader = Trader(env, TraderSettings(cancel_on_exit=True))
        trader.add(SmallBid(), on=SERIES)
        await trader.run(cycles)
        print(f"cash: {env.account.cash:.2f} USD")


async def go_live(sentence: str) -> None:
    """Trade at the real venue, until Ctrl-C.

    Raises:
        ConfigError: An opt-in is missing.
    """
    signer = WalletSigner.from_env()
    needed = f"real money of {signer.maker}"
    if sentence.lower() != needed.lower():
        msg = f'confirm: to trade with real money, say --confirm "{needed}"'
        raise ConfigError(msg)
    credentials = await create_or_derive_credentials(signer)
    exchange = PolymarketExchange(credentials=credentials, signer=signer, confirm_live=sentence)
    await trade(exchange, WallClock(), None, Ledger("live.sqlite"))


async def go_local() -> None:
    """Trade one cycle at the local venue, with a wallet of its own."""
    clock = ScaledClock(speed=100, start=1_893_456_000)
    signer = WalletSigner(PrivateKey(secrets.token_hex(32)))
    async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
        hosts = PolymarketHosts.local(venue.url)
        credentials = await create_or_derive_credentials(signer, host=hosts.clob, clock=clock)
        await trade(PolymarketExchange(hosts, credentials, signer), clock, 1, Ledger())


def main() -> int:
    """Read the command line and return the exit code."""
    parser = argparse.ArgumentParser(description="Trade with real money, or locally with none.")
    parser.add_argument("--local", action="store_true", help="a venue on this machine")
    parser.add_argument("--confirm", default="", metavar="SENTENCE", help="the second opt-in")
    options = parser.parse_args()
    try:
        asyncio.run(go_local() if options.local else go_live(options.confirm))
    except ConfigError as error:
        print(f"Nothing was sent. {error}", file=sys.stderr)
        print("Both opt-ins are told in docs/live.md; --local needs neither.", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
