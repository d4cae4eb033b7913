"""Trading is stopped from outside by a signal, as docs/risk.md shows it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import pytest

from polyframe.errors import OrderDenied
from polyframe.trading.risk import RiskState
from tests.support.produce_snapshots import BUY
from tests.support.stage import Stage, play, settle

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGUSR1 on Windows")


def test_a_signal_pauses_trading_and_another_resumes_it() -> None:
    """From the next instruction on, entries are refused with the signal's name as the reason."""

    async def act(stage: Stage) -> None:
        risk, loop = stage.env.risk, asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, risk.pause, "SIGUSR1")
        loop.add_signal_handler(signal.SIGUSR2, risk.resume)
        try:
            await stage.open_cycle()
            os.kill(os.getpid(), signal.SIGUSR1)
            await settle()
            assert RiskState.REDUCING is risk.state
            with pytest.raises(OrderDenied, match="SIGUSR1"):
                await stage.trading.place(stage.session.generation, "Recorder", BUY)
            os.kill(os.getpid(), signal.SIGUSR2)
            await settle()
            order = await stage.trading.place(stage.session.generation, "Recorder", BUY)
            assert order.is_open
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
            loop.remove_signal_handler(signal.SIGUSR2)

    play(act)
