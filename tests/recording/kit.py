"""Markets and events for tests of recordings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal

from hypothesis import strategies as st

from polyframe.model.events import (
    BestQuote,
    BookDelta,
    BookSnapshot,
    LevelChange,
    MarketMessage,
    MarketResolved,
    TickSizeChange,
    TradePrint,
)
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market, Outcome
from polyframe.model.order import Side
from polyframe.model.series import Series
from polyframe.model.stretch import Stretch
from polyframe.recording.tape import Gap, TapeEvent, TapeMarket, Timed

START = 1_790_586_000
START_MS = START * 1000


def make_tape(number: int = 0, series: str = "btc-updown-15m") -> TapeMarket:
    """Return the recorded market of the window `number` after the first."""
    family = Series.parse(series)
    window = family.windows(START, number + 1)[-1]
    market = Market(
        slug=family.slug(window),
        series=family,
        window=window,
        condition_id=f"0x{family.asset.encode().hex()}{window.start:058x}",
        up_token=f"11{window.start}",
        down_token=f"22{window.start}",
        fees=FeeSchedule(rate=Decimal("0.07")),
        question="Bitcoin Up or Down – „quoted“",
    )
    return TapeMarket(market, Outcome.UP, Decimal("64000.125"), "gamma", "test", "mine")


TAPE = make_tape()
MARKET = TAPE.market
CONDITION, UP, DOWN = MARKET.condition_id, MARKET.up_token, MARKET.down_token

EXAMPLES: Sequence[TapeEvent] = (
    Timed(
        START_MS,
        1,
        BookSnapshot(
            CONDITION, UP, ((4000, Decimal("5.5")),), ((4100, Decimal(7)),), START_MS - 3, 100
        ),
    ),
    Timed(START_MS, 1, BookSnapshot(CONDITION, DOWN, (), ())),
    Timed(
        START_MS + 5,
        1,
        BookDelta(
            CONDITION,
            (
                LevelChange(UP, True, 3900, Decimal("0.000001"), 4000, 4100),
                LevelChange(DOWN, False, 6100, Decimal(0)),
            ),
            START_MS + 1,
        ),
    ),
    Timed(START_MS + 5, 1, BookDelta(CONDITION, (LevelChange(UP, True, 3900, Decimal(3)),))),
    Gap(START_MS + 6, "closed"),
    Timed(START_MS + 7, 2, BestQuote(CONDITION, DOWN, 0, 10_000, START_MS)),
    Timed(START_MS + 8, 2, TradePrint(CONDITION, UP, 4100, Decimal(2), Side.BUY, START_MS)),
    Timed(START_MS + 8, 2, TradePrint(CONDITION, UP, 4100, None, None)),
    Timed(START_MS + 9, 2, TickSizeChange(CONDITION, UP, 10, START_MS)),
    Timed(START_MS + 10, 2, MarketResolved(CONDITION, DOWN, START_MS)),
)
"""An event of each kind, with everything that may be missing there and missing."""

_tokens = st.sampled_from([UP, DOWN])
_prices = st.integers(1, 9_999)
_sizes = st.integers(0, 10**15).map(lambda base: Decimal(base) / 1_000_000)
_tops = st.integers(0, 10_000)
_times = st.just(0) | st.integers(1, 2 * START_MS)
_levels = st.lists(st.tuples(_prices, _sizes), max_size=3).map(tuple)
_changes = st.builds(
    LevelChange, _tokens, st.booleans(), _prices, _sizes, _tops | st.just(-1), _tops | st.just(-1)
)
messages: st.SearchStrategy[MarketMessage] = st.one_of(
    st.builds(
        BookSnapshot,
        st.just(CONDITION),
        _tokens,
        _levels,
        _levels,
        _times,
        st.sampled_from([0, 100]),
    ),
    st.builds(
        BookDelta, st.just(CONDITION), st.lists(_changes, min_size=1, max_size=3).map(tuple), _times
    ),
    st.builds(BestQuote, st.just(CONDITION), _tokens, _tops, _tops, _times),
    st.builds(
        TradePrint,
        st.just(CONDITION),
        _tokens,
        _prices,
        st.none() | _sizes,
        st.none() | st.sampled_from(Side),
        _times,
    ),
    st.builds(TickSizeChange, st.just(CONDITION), _tokens, st.sampled_from([10, 100]), _times),
    st.builds(MarketResolved, st.just(CONDITION), _tokens, _times),
)


def messages_of(stretch: Stretch, market: Market = MARKET) -> Iterator[Timed]:
    """Yield each message of a stretch, made of its rows one by one."""
    changes, row = stretch.changes, stretch.begin
    while row < stretch.end:
        behind = changes.behind(row)
        message = changes.message(market, row, behind)
        yield Timed(changes.received[row], stretch.epoch, message)
        row = behind


@st.composite
def tapes(draw: st.DrawFn) -> list[TapeEvent]:
    """Draw events in order of the time at which they came."""
    events: list[TapeEvent] = []
    now, epoch = START_MS, 1
    for message in draw(st.lists(st.none() | messages, max_size=12)):
        now += draw(st.integers(0, 3))
        if message is None:
            events.append(Gap(now, draw(st.sampled_from(["closed", "silence"]))))
            epoch += 1
        else:
            events.append(Timed(now, epoch, message))
    return events
