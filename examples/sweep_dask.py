"""A sweep on Dask: one strategy with several settings, on a cluster's workers.

The cluster is two processes of this machine here. With ``Client("tcp://…")`` in its place the same
program uses a cluster elsewhere; then the recording has to be at a path or URL that its workers can read.
It needs the extras "data" and "dask".

Run it with ``python examples/sweep_dask.py``. It prints one row for each setting, and the best of them
with the number of settings that were tried. (The markets are two of the sample of Resolved Markets.)
"""

import tempfile
from decimal import Decimal
from pathlib import Path

from attrs import define, field
from distributed import Client, LocalCluster

from polyframe import (
    OrderError,
    OrderType,
    ParquetRecording,
    PriceChanged,
    ResolvedMarkets,
    Strategy,
    grid,
    sweep,
    write_market,
)


@define
class CheapSide(Strategy):
    """Buys the first outcome that is offered cheaply, and holds it."""

    limit: Decimal = Decimal("0.45")
    size: Decimal = Decimal(10)
    has_bought: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        """Act on the latest best prices of one outcome."""
        if self.has_bought or event.ask is None or event.ask > self.limit:
            return
        self.has_bought = True
        try:
            await self.trading.buy(
                event.outcome, price=event.ask, size=self.size, order_type=OrderType.FAK
            )
        except OrderError as error:
            self.log.info("not bought: %s", error)


def copy_two_markets(folder: Path) -> ParquetRecording:
    """Write two markets of the sample to files, as your own recordings would be."""
    sample = ResolvedMarkets()
    for tape in sample.markets()[:2]:
        write_market(folder, tape, sample.events(tape))
    return ParquetRecording(folder)


def main() -> None:
    """Try four settings on two workers, and print the table."""
    variants = grid(limit=[Decimal("0.30"), Decimal("0.45")], size=[Decimal(10), Decimal(20)])
    with tempfile.TemporaryDirectory() as folder:
        data = copy_two_markets(Path(folder) / "recording")
        with (
            LocalCluster(  # type: ignore[no-untyped-call]
                n_workers=2,
                threads_per_worker=1,
                dashboard_address="127.0.0.1:0",
                local_directory=folder,
            ) as cluster,
            Client(cluster) as client,  # type: ignore[no-untyped-call]
        ):
            result = sweep(
                CheapSide,
                variants,
                data=data,
                executor=client.get_executor(),
                folder=Path(folder) / "sweep",
                progress=False,
            )
        print(result.text())


if __name__ == "__main__":
    main()
