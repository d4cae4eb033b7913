"""A program that places an order on paper, says so, and waits to be killed."""

from __future__ import annotations

import asyncio
import sys

from polyframe.clock import ScaledClock
from tests.paper.kit import order
from tests.paper.scene import scene
from tests.support.fake import START


async def main(folder: str) -> None:
    """Take ten shares and bid for ten more."""
    async with scene(ScaledClock(1, START + 60), folder) as found:
        await found.place(order("0.51", 10))
        order_id, _ = await found.place(order("0.40", 10))
        sys.stdout.write(f"{order_id} {await found.exchange.fetch_balance()}\n")
        sys.stdout.flush()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
