"""The order engine of one series: one entrance to the trading state of the current cycle."""

from __future__ import annotations

from typing_extensions import override

from polyframe.model.market import Market
from polyframe.trading.account import Account
from polyframe.trading.commands import Applied, Command, Reply, Reset, Stale
from polyframe.trading.state import CycleState


class OrderEngine:
    """Applies commands one at a time to the state of the current cycle.

    A pure state machine: no I/O, no clock, no tasks. It calls no user code, changes are *returned*
    to the submitter, so a command can never come in while another is being applied: nothing has to
    wait, nothing can overflow, no reply can block.

    A state is only ever touched by commands of its own generation, so what it holds depends on
    nothing else (and, when an order asks for cash, on the account).

    Args:
        account: The cash that all cycles share.
    """

    def __init__(self, account: Account) -> None:
        self.account = account
        self._state: CycleState | None = None
        self._newest: int | None = None

    @property
    def state(self) -> CycleState | None:
        """The state of the current cycle, ``None`` between two cycles."""
        return self._state

    @property
    def generation(self) -> int | None:
        """The generation of the current cycle, ``None`` between two cycles."""
        return None if self._state is None else self._state.generation

    def submit(self, command: Command) -> Reply:
        """Apply one command and return the reply, with the changes that it made.

        Raises:
            ValueError: A `Reset` whose generation is not newer than all before it (or, with no
                market, is not the newest one).
        """
        if isinstance(command, Reset):
            if command.market is None and command.generation != self._newest:
                msg = f"reset: cycle {command.generation} cannot end, the newest is {self._newest}"
                raise ValueError(msg)
            self.reset(command.market)
            return Applied()
        if self._state is None:
            return Stale(type(command).__name__, command.generation, None)
        return self._state.apply(command)

    def reset(self, market: Market | None, resumed: CycleState | None = None) -> CycleState | None:
        """Replace the whole trading state by a fresh one, or by none.

        What orders of the old cycle hold of the cash stays held: the venue has not ended them yet.
        The caller passes the old state on to whoever applies what is still said of it.

        Args:
            market: The market of the new cycle; ``None`` if no cycle is open from now on, every
                command is stale then.
            resumed: The state of this very cycle from an earlier run, in place of a fresh one.

        Returns:
            The old state, ``None`` if there was none.

        Raises:
            ValueError: The market's generation is not newer than all before it, or `resumed` is of
                another cycle.
        """
        if resumed is not None and (market is None or resumed.generation != market.generation):
            msg = f"reset: {resumed.market.slug} cannot be resumed in another cycle"
            raise ValueError(msg)
        if market is not None:
            if self._newest is not None and market.generation <= self._newest:
                msg = (
                    f"reset: cycle {market.generation} ({market.slug}) is not newer than "
                    f"{self._newest}; a cycle begins once"
                )
                raise ValueError(msg)
            self._newest = market.generation
        old = self._state
        if market is None:
            self._state = None
        else:
            self._state = CycleState(market, self.account) if resumed is None else resumed
        return old

    @override
    def __repr__(self) -> str:
        return f"<OrderEngine {self._state!r}>"
