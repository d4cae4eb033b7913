"""Which orders are ours: of every series, in every cycle that is kept, from before they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from polyframe.model.market import Market
from polyframe.trading.state import CycleState


class OwnOrders:
    """All that one environment knows of its own orders, and which requests are under way.

    An order is registered with an engine under the venue's id before it is sent, so there is no
    instant at which the venue lists an order of ours that is not found here.
    """

    def __init__(self) -> None:
        self._sources: list[Callable[[], Iterable[CycleState]]] = []
        self._under_way: set[str] = set()
        self._lost: dict[str, float] = {}

    def add_source(self, source: Callable[[], Iterable[CycleState]]) -> None:
        """Ask `source` for the cycles that it keeps, whenever they are needed."""
        self._sources.append(source)

    def states(self) -> Iterator[CycleState]:
        """Iterate over the cycles that are kept: open ones and dead ones."""
        for source in self._sources:
            yield from source()

    def venue_ids(self) -> frozenset[str]:
        """Return the venue's ids of all orders that we placed, in lower case."""
        return frozenset(
            order.venue_id.lower()
            for state in self.states()
            for order in state.orders.values()
            if not order.is_external
        )

    def market(self, name: str) -> Market | None:
        """Return the market of a kept cycle by its slug or condition id."""
        for state in self.states():
            if name in {state.market.slug, state.market.condition_id}:
                return state.market
        return None

    def rival(self, market: Market) -> Market | None:
        """Return the market of another cycle that is kept and has an id of `market`."""
        ids = {market.condition_id, market.up_token, market.down_token}
        for state in self.states():
            other = state.market
            is_same = other.slug == market.slug
            if not is_same and {other.condition_id, other.up_token, other.down_token} & ids:
                return other
        return None

    # ------------------------------------------------------------------ requests

    def sent(self, venue_id: str) -> None:
        """Note that a request to place this order leaves now."""
        self._under_way.add(venue_id)

    def answered(self, venue_id: str, *, is_lost: bool) -> None:
        """Note that the request is over, and whether its answer was lost."""
        self._under_way.discard(venue_id)
        if is_lost:
            self._lost[venue_id] = asyncio.get_running_loop().time()

    @property
    def any_under_way(self) -> bool:
        """Whether any order is being sent."""
        return bool(self._under_way)

    def is_under_way(self, venue_id: str) -> bool:
        """Return whether this order is being sent."""
        return venue_id in self._under_way

    def lost_at(self, venue_id: str) -> float | None:
        """Return the time of the event loop at which the answer to this order was lost."""
        return self._lost.get(venue_id)

    def forget(self, state: CycleState) -> None:
        """Drop what is noted of a cycle that is let go."""
        for order in state.orders.values():
            self._lost.pop(order.venue_id, None)
