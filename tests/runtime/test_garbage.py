"""What the wire brings against the state of a cycle: garbage passes through it without a trace."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from polyframe.counters import Count
from polyframe.model.market import Market, Outcome
from tests.exchange.kit import CONDITION, DOWN, UP, Wire, encoded
from tests.exchange.test_wire_market import EVENTS, JSON, mutated
from tests.exchange.test_wire_user import MAKER, ORDER, TRADE
from tests.support.fake import START, make_market
from tests.support.stage import Stage, play, settle

USER = [ORDER, TRADE, TRADE | {"trader_side": "MAKER", "maker_orders": [MAKER] * 2}]
OURS = make_market(start=START)


def told_as(market: Market, frame: bytes) -> bytes:
    """Return a frame of the recordings as if it spoke of `market`."""
    for theirs, its in (
        (CONDITION, market.condition_id),
        (UP, market.up_token),
        (DOWN, market.down_token),
    ):
        frame = frame.replace(theirs.encode(), its.encode())
    return frame


def state(stage: Stage) -> str:
    """Return all that a strategy could see of the cycle."""
    session, handle = stage.session, stage.trading.handle("me")
    books = [
        (session.price(outcome), *(session.book(outcome).depth(side, 50) for side in (True, False)))
        for outcome in Outcome
    ]
    return repr((books, handle.orders(), handle.cash, stage.trading.snapshot()))


async def feed(stage: Stage, market_frames: list[bytes], user_frames: list[bytes]) -> None:
    """Decode frames as the streams do, and hand on what comes out."""
    wire = Wire()
    for frame in market_frames:
        for message in wire.market(frame):
            stage.session.on_market_message(message)
    for frame in user_frames:
        for report in wire.user(frame):
            stage.env.router.on_user_message(report)
    await settle()


BYTES = st.binary(max_size=40) | JSON.map(encoded)


@settings(max_examples=60)
@given(
    st.lists(BYTES | mutated(EVENTS).map(encoded), max_size=6),
    st.lists(BYTES | mutated(USER).map(encoded), max_size=6),
)
def test_what_is_not_of_this_market_leaves_no_trace(
    market_frames: list[bytes], user_frames: list[bytes]
) -> None:
    """Random bytes, random JSON, and damaged messages of another market change nothing at all."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        before, seen = state(stage), list(stage.diary.seen)
        await feed(stage, market_frames, user_frames)
        assert state(stage) == before
        assert stage.diary.seen == seen

    play(act)


@settings(max_examples=60)
@given(st.lists(mutated(EVENTS), max_size=6), st.lists(mutated(USER), max_size=6))
def test_damaged_messages_of_this_market_cost_nothing(
    market_messages: list[Any], user_messages: list[Any]
) -> None:
    """They may tell of orders that are not ours; cash and our positions do not move, nothing fails."""

    async def act(stage: Stage) -> None:
        await stage.open_cycle()
        cash = stage.env.account.cash
        frames = [told_as(OURS, json.dumps(message).encode()) for message in market_messages]
        await feed(
            stage,
            frames,
            [told_as(OURS, json.dumps(message).encode()) for message in user_messages],
        )
        assert stage.env.account.cash == cash
        assert stage.env.account.available == cash
        for outcome in Outcome:
            assert stage.trading.handle("me").position(outcome).size == 0
        assert not stage.env.counters.get(Count.STRATEGY_ERRORS)

    play(act)
