"""Orders that leave: sent once, answered, and whatever follows from the answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from polyframe.clock import Clock
from polyframe.counters import Count, Counters
from polyframe.exchange.base import MAX_BATCH, Exchange, PlaceAnswer, PreparedOrder
from polyframe.model.market import Market
from polyframe.model.order import PlaceResult
from polyframe.trading.commands import (
    ApplyCancelAnswer,
    ApplyPlaceAnswer,
    Command,
    Reply,
    Stale,
)
from polyframe.trading.ownorders import OwnOrders
from polyframe.trading.requests import Requests, ended
from polyframe.trading.risk import RiskGuard

log = logging.getLogger(__name__)

_KILLED = frozenset({"fok_not_filled", "fak_not_filled"})

Answers = asyncio.Task[list[PlaceAnswer]]
"""A request with up to `MAX_BATCH` orders that is under way."""


class SendingDesk(Protocol):
    """The trading service, as far as sending needs it."""

    def submit(self, command: Command) -> Reply:
        """Apply a command to the current cycle."""
        ...

    def note_refusal(
        self, market: Market | None, reason: str, text: str, *, strategy: str = ""
    ) -> None:
        """Write down a refusal and count it for its cycle."""
        ...

    async def take_late_answer(
        self, market: Market, command: ApplyPlaceAnswer | ApplyCancelAnswer
    ) -> None:
        """Take an answer that came after its cycle's end."""
        ...

    def give_up(self, market: Market, client_id: str) -> None:
        """Take note that no answer to an order will come."""
        ...

    def look_soon(self) -> None:
        """Compare with the venue in a moment."""
        ...


class Sending(msgspec.Struct, frozen=True, eq=False):
    """An order that is registered here and leaves for the venue now."""

    client_id: str
    prepared: PreparedOrder
    strategy: str


class Sender:
    """Sends the orders of one series that are registered, and takes the answers.

    Args:
        desk: The trading service.
        exchange: The venue.
        clock: Market time.
        counters: Where answers are counted.
        own: Is told which orders are on their way.
        risk: Is told of every answer.
        requests: Runs what is sent, so that no cancelled caller loses an answer.
    """

    def __init__(
        self,
        desk: SendingDesk,
        *,
        exchange: Exchange,
        clock: Clock,
        counters: Counters,
        own: OwnOrders,
        risk: RiskGuard,
        requests: Requests,
    ) -> None:
        self._desk = desk
        self._exchange = exchange
        self._clock = clock
        self._counters = counters
        self._own = own
        self._risk = risk
        self._requests = requests

    def start(self, market: Market, sendings: Sequence[Sending]) -> list[Answers]:
        """Begin to send orders that are registered, once; the answers are applied, whoever waits."""
        tasks = []
        for first in range(0, len(sendings), MAX_BATCH):
            batch = sendings[first : first + MAX_BATCH]
            client_ids = [sending.client_id for sending in batch]
            # All start before anything is waited for: a cancelled caller leaves none behind unsent.
            tasks.append(
                self._requests.start(
                    self._send_batch(market, batch), f"place {', '.join(client_ids)}", client_ids
                )
            )
        return tasks

    async def send(self, market: Market, sendings: Sequence[Sending]) -> list[PlaceAnswer]:
        """Send orders and return the answers."""
        tasks = self.start(market, sendings)
        if len(tasks) == 1:
            return await self._requests.result(tasks[0])
        return await self.answers(tasks)

    async def answers(self, tasks: Sequence[Answers]) -> list[PlaceAnswer]:
        """Wait for the answers to what was started."""
        if tasks:
            await ended(*tasks)
        return [answer for task in tasks for answer in task.result()]

    async def _send_batch(self, market: Market, batch: Sequence[Sending]) -> list[PlaceAnswer]:
        try:
            answers = await self._ask([sending.prepared for sending in batch])
        except asyncio.CancelledError:
            # Nobody waits for the answer any more. Whether they arrived has to be found out all the same.
            for sending in batch:
                self._own.answered(sending.prepared.venue_id, is_lost=True)
                self._desk.give_up(market, sending.client_id)
            raise
        told: dict[str, tuple[PlaceResult, str]] = {}
        for sending, answer in zip(batch, answers, strict=True):
            is_lost = answer.result is PlaceResult.UNKNOWN
            self._own.answered(sending.prepared.venue_id, is_lost=is_lost)
            told[sending.client_id] = (answer.result, answer.code)
        self._tell_risk(told, batch[0].client_id, answers[0])
        late = []
        for sending, answer in zip(batch, answers, strict=True):
            if (command := self._take_answer(market, sending, answer)) is not None:
                late.append(command)
        if late:
            await asyncio.gather(
                *(self._desk.take_late_answer(market, command) for command in late)
            )
        return answers

    async def _ask(self, prepared: Sequence[PreparedOrder]) -> list[PlaceAnswer]:
        try:
            if len(prepared) == 1:
                return [await self._exchange.place_order(prepared[0])]
            answers = await self._exchange.place_orders(prepared)
        except Exception as error:
            # It promised not to raise. Whether anything was sent is not known.
            log.exception("placing %d orders raised", len(prepared))
            return [PlaceAnswer(PlaceResult.UNKNOWN, text=str(error))] * len(prepared)
        if len(answers) != len(prepared):
            text = f"{len(answers)} answers to {len(prepared)} orders"
            return [PlaceAnswer(PlaceResult.UNKNOWN, text=text)] * len(prepared)
        return answers

    def _take_answer(
        self, market: Market, sending: Sending, answer: PlaceAnswer
    ) -> ApplyPlaceAnswer | ApplyCancelAnswer | None:
        """Apply an answer; return what follows from it if the cycle is over."""
        client_id = sending.client_id
        self._counters.add(Count.ORDERS_SENT, answer.result.value)
        command: ApplyPlaceAnswer | ApplyCancelAnswer
        is_refused = answer.result is PlaceResult.REJECTED
        if is_refused and answer.code in _KILLED:
            # A killed FOK or FAK is an ordinary end of an order, not a refusal.
            command = ApplyCancelAnswer(
                market.generation, client_id, True, answer.text, self._now_ms()
            )
        else:
            if is_refused:
                self._desk.note_refusal(
                    market, f"venue:{answer.code}", answer.text, strategy=sending.strategy
                )
            command = ApplyPlaceAnswer(
                market.generation,
                client_id,
                answer.result,
                answer.code,
                answer.text,
                self._now_ms(),
            )
        if isinstance(self._desk.submit(command), Stale):
            return command
        if answer.result is PlaceResult.UNKNOWN:
            self._desk.look_soon()
        return None

    def _tell_risk(
        self, answers: Mapping[str, tuple[PlaceResult, str]], client_id: str, answer: PlaceAnswer
    ) -> None:
        now = asyncio.get_running_loop().time()
        before = self._risk.breaker(now)
        self._risk.answered(answers, now)
        after = self._risk.breaker(now)
        if after is not before:
            log.warning("%s: the breaker is %s (%s)", client_id, after, answer.text or answer.code)

    def _now_ms(self) -> int:
        return int(self._clock.time() * 1000)
