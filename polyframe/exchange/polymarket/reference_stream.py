"""The streams of reference prices: RTDS, and its successor for those with credentials (PROTOCOL §6)."""

from __future__ import annotations

import asyncio
import json
import random
from abc import abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from attrs import evolve
from typing_extensions import override
from websockets.exceptions import ConnectionClosed

from polyframe.counters import Counters
from polyframe.exchange.base import DataStream, ReferenceSink
from polyframe.exchange.polymarket.auth import Credentials
from polyframe.exchange.polymarket.config import PolymarketHosts, StreamSettings
from polyframe.exchange.polymarket.stream import ReconnectingStream
from polyframe.exchange.polymarket.wire import Skips
from polyframe.exchange.polymarket.wire_reference import (
    LIVE_CHANNEL,
    RTDS_TOPICS,
    TWAP_SECONDS,
    LiveDecoder,
    RtdsDecoder,
    live_symbol,
    rtds_symbol,
)
from polyframe.model.events import StreamState
from polyframe.model.reference import PriceSource, ReferencePrice

_DRAIN_SECONDS = 10.0

Wanted = Sequence[tuple[PriceSource, str]]


class _PriceStream(ReconnectingStream):
    """Prices to a sink, and the watch over their ages.

    A connection is given up when nothing comes for `StreamSettings.price_silence` seconds, or when one
    price that did come on it does not any more while others do: the feed is known to stop silently.
    A price that never came is no reason: the venue may not have that asset.
    """

    def __init__(
        self,
        name: str,
        url: str,
        sink: ReferenceSink,
        wanted: Wanted,
        settings: StreamSettings,
        counters: Counters,
    ) -> None:
        super().__init__(name, url, settings, counters)
        self._sink: ReferenceSink | None = sink
        self._wanted = tuple(dict.fromkeys(wanted))
        self._begun = 0.0
        self._last: dict[tuple[PriceSource, str], float] = {}

    @override
    def detach(self) -> None:
        self._sink = None

    @override
    def _on_connected(self, now: float) -> None:
        self._begun = now
        self._last.clear()

    @override
    def _deadline(self) -> tuple[float, str]:
        oldest = min(self._last.values(), default=self._begun)
        return oldest + self._settings.price_silence, "silence"

    @override
    def _on_pong(self, now: float) -> None:
        """Prove nothing: only prices do."""

    @override
    def _on_state(self, state: StreamState, reason: str) -> None:
        """Tell nobody: a price has an instant, and one that was missed is seen to be missing."""

    @override
    def _on_frame(self, frame: bytes) -> None:
        for price in self._read(frame):
            key = (price.source, price.asset)
            if self._sink is None:
                return
            if key in self._wanted:  # without a filter all assets come
                self._healthy = True
                self._last[key] = asyncio.get_running_loop().time()
                self._sink.on_reference(price)

    @abstractmethod
    def _read(self, frame: bytes) -> Iterable[ReferencePrice]:
        """Return the prices of one frame. Never raises."""


class RtdsStream(_PriceStream):
    """Reference prices without credentials. It has no memory: what was missed does not come again.

    Args:
        url: WebSocket URL.
        sink: Takes the prices.
        wanted: Sources and assets.
        settings: Times; the feed's own ping interval is 5 s.
        counters: Where connections are counted.
        skips: Where what was not understood is counted.
    """

    def __init__(
        self,
        url: str,
        sink: ReferenceSink,
        wanted: Wanted,
        settings: StreamSettings,
        counters: Counters,
        skips: Skips,
    ) -> None:
        times = evolve(settings, ping_interval=min(5.0, settings.ping_interval))
        super().__init__("rtds", url, sink, wanted, times, counters)
        self._decoder = RtdsDecoder(skips)

    @override
    def _subscription(self) -> str:
        subscriptions: list[dict[str, str]] = []
        for topic, source in RTDS_TOPICS.items():
            symbols = [rtds_symbol(source, asset) for kind, asset in self._wanted if kind is source]
            if not symbols:
                continue
            one: dict[str, str] = {"topic": topic, "type": "update"}
            if source is PriceSource.BINANCE:
                one["filters"] = ",".join(symbols)
            elif len(symbols) == 1:
                # A blank in it makes it match nothing; more than one symbol it cannot say.
                one["filters"] = json.dumps({"symbol": symbols[0]}, separators=(",", ":"))
            subscriptions.append(one)
        return json.dumps({"action": "subscribe", "subscriptions": subscriptions})

    @override
    def _read(self, frame: bytes) -> Iterable[ReferencePrice]:
        return self._decoder.decode(frame)


class LivePriceStream(_PriceStream):
    """The same averages for those with an API key; every connection begins with two minutes of them.

    Args:
        url: WebSocket URL.
        credentials: Sent in the first frame.
        sink: Takes the prices.
        wanted: Sources and assets; only `PriceSource.TWAP` is asked for here.
        settings: Times; the feed's own ping interval is 30 s.
        counters: Where connections are counted.
        skips: Where what was not understood is counted.
    """

    _PING = json.dumps({"op": "ping"})
    _FINAL: ClassVar[frozenset[str]] = frozenset({"auth", "policy"})

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        sink: ReferenceSink,
        wanted: Wanted,
        settings: StreamSettings,
        counters: Counters,
        skips: Skips,
    ) -> None:
        averages = [(source, asset) for source, asset in wanted if source is PriceSource.TWAP]
        times = evolve(settings, ping_interval=max(30.0, settings.ping_interval))
        super().__init__("live", url, sink, averages, times, counters)
        self._credentials = credentials
        self._skips = skips
        self._decoder = LiveDecoder(skips)
        self._is_authed = False

    @override
    def _subscription(self) -> str:
        auth = {
            "apiKey": self._credentials.api_key,
            "secret": self._credentials.secret,
            "passphrase": self._credentials.passphrase,
        }
        return json.dumps({"op": "auth", "rid": "1", "auth": auth})

    @override
    def _on_connected(self, now: float) -> None:
        super()._on_connected(now)
        self._is_authed = False

    @override
    def _frames(self, now: float) -> list[str]:
        if not self._is_authed:
            return []
        subscriptions: list[dict[str, Any]] = [
            {
                "channel": LIVE_CHANNEL,
                "filter": {"symbol": live_symbol(asset), "window_seconds": TWAP_SECONDS},
            }
            for _, asset in self._wanted
        ]
        return [json.dumps({"op": "subscribe", "rid": "2", "subscriptions": subscriptions})]

    @override
    def _read(self, frame: bytes) -> Iterable[ReferencePrice]:
        found = self._decoder.decode(frame)
        if not isinstance(found, tuple):
            return found
        op, code = found
        if op == "authed" and not self._is_authed:
            self._is_authed = True
            self._nudge()
        elif op == "error":
            self._skips.add(f"venue_error:{code or 'none'}", "from the feed of reference prices")
            if code in {"auth_required", "auth_invalid", "auth_expired", "auth_attempts"}:
                self._restart("auth")
        return ()

    @override
    def _closed_reason(self, closed: ConnectionClosed) -> str:
        code = closed.rcvd.code if closed.rcvd is not None else 0
        return {4001: "auth", 4003: "draining", 4008: "policy"}.get(code, "closed")

    @override
    def _least_pause(self, reason: str) -> float:
        # The venue sends everybody away at once and wants them back one by one.
        return random.uniform(0, _DRAIN_SECONDS) if reason == "draining" else 0.0  # noqa: S311


def reference_streams(
    hosts: PolymarketHosts,
    credentials: Credentials | None,
    wanted: Wanted,
    sink: ReferenceSink,
    settings: StreamSettings,
    counters: Counters,
    skips: Skips,
) -> list[DataStream]:
    """Return the streams that tell the prices `wanted`, not yet started.

    With credentials the averages come twice: the feed without them has no memory, and the other one
    may refuse. Credentials of an account on this machine stay on it.
    """
    streams: list[DataStream] = [RtdsStream(hosts.rtds, sink, wanted, settings, counters, skips)]
    has_average = any(source is PriceSource.TWAP for source, _ in wanted)
    if credentials is not None and has_average and hosts.live_is_trusted:
        url = f"{hosts.live}/ws"
        streams.append(LivePriceStream(url, credentials, sink, wanted, settings, counters, skips))
    return streams
