"""Values and helpers that the tests of the client share."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from polyframe.counters import Count, Counters
from polyframe.exchange.polymarket import Credentials
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_market import MarketDecoder
from polyframe.exchange.polymarket.wire_user import UserDecoder
from polyframe.model.events import MarketMessage, StreamState, UserMessage
from polyframe.model.fees import FeeSchedule
from polyframe.model.market import Market
from polyframe.model.series import Series, Window

SERIES = Series.parse("btc-updown-15m")
WINDOW = Window(1790586000, 1790586900)
UP = "104239898038807136052399800151408521467737075933964991162589336683346093173875"
DOWN = "71183960810705820955071415844881728181970340514894896943812046065452395013351"
CONDITION = "0x78443f961b9a65869dcb39359de9960165c7e5cbad0904eac7f29cd77872a63b"
API_KEY = "3e2c94ca-8124-c4c1-c7ea-be1ea21b71fe"
ADDRESS = "0xa3D82Ed56F4c68d2328Fb8c29e568Ba2cAF7d7c8"
SECRET = "c2VjcmV0LW9mLXRoZS10ZXN0cw=="
PASSPHRASE = "a-phrase"  # short: logs that cut long frames must not hide it

DEVELOPMENT_KEY = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""A key that everybody knows (PROTOCOL §3.7): never fund it."""

MARKET = Market(
    slug=SERIES.slug(WINDOW),
    series=SERIES,
    window=WINDOW,
    condition_id=CONDITION,
    up_token=UP,
    down_token=DOWN,
    fees=FeeSchedule(rate=Decimal("0.07")),
    question="Bitcoin Up or Down",
)
CREDENTIALS = Credentials(API_KEY, SECRET, PASSPHRASE, ADDRESS)

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "protocol_samples"


def sample(name: str) -> bytes:
    """Return a recorded message; skips the test where the recordings are not at hand."""
    path = SAMPLES / f"{name}.json"
    if not path.exists():
        pytest.skip("the recorded protocol samples are not beside the repository")
    return path.read_bytes()


def samples(prefix: str) -> list[bytes]:
    """Return all recorded messages whose name begins with `prefix`, possibly none."""
    return [path.read_bytes() for path in sorted(SAMPLES.glob(f"{prefix}*.json"))]


def encoded(value: Any) -> bytes:
    """Return `value` as JSON bytes."""
    return json.dumps(value).encode()


class Wire:
    """Decoders with fresh counters."""

    def __init__(self) -> None:
        self.counters = Counters()
        self.skips = Skips(self.counters)
        self._market = MarketDecoder(self.skips)
        self._user = UserDecoder(self.skips, API_KEY, {ADDRESS})

    def market(self, value: Any) -> list[MarketMessage]:
        """Decode a market frame: bytes, or a value that becomes JSON."""
        return list(self._market.decode(value if isinstance(value, bytes) else encoded(value)))

    def user(self, value: Any) -> list[UserMessage]:
        """Decode a user frame: bytes, or a value that becomes JSON."""
        return list(self._user.decode(value if isinstance(value, bytes) else encoded(value)))

    @property
    def skipped(self) -> dict[str, int]:
        """What was not understood, by kind."""
        return self.counters.reasons(Count.WIRE_SKIPPED)


class Sink:
    """Takes both kinds of messages and keeps them."""

    def __init__(self) -> None:
        self.messages: list[Any] = []
        self.states: list[tuple[StreamState, str]] = []
        self.all: list[Any] = []

    def on_market_message(self, message: MarketMessage) -> None:
        """Keep a market message."""
        self.messages.append(message)
        self.all.append(message)

    def on_user_message(self, message: UserMessage) -> None:
        """Keep a message of the account."""
        self.messages.append(message)
        self.all.append(message)

    def on_market_stream(self, state: StreamState, reason: str) -> None:
        """Keep a change of the connection."""
        self.states.append((state, reason))
        self.all.append((state, reason))

    on_user_stream = on_market_stream
