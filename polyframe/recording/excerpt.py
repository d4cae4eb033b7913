"""A recording made of another one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from typing_extensions import override

from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeEvent, TapeMarket


class Excerpt(Recording, ABC):
    """Markets of another recording. What is skipped or doubtful is counted there.

    Args:
        recording: Where they are.
        markets: Which, as they are to be told.
    """

    def __init__(self, recording: Recording, markets: Sequence[TapeMarket]) -> None:
        self._recording = recording
        self._markets = tuple(markets)

    @override
    def markets(self) -> Sequence[TapeMarket]:
        """Return the markets."""
        return self._markets

    @override
    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of one.

        Raises:
            KeyError: It is none of these.
        """
        if market not in self._markets:
            raise KeyError(market.market.slug)
        return self._heard(market)

    @abstractmethod
    def _heard(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of a market that is one of these."""

    @property
    @override
    def skipped(self) -> Mapping[str, int]:
        """What the recording skipped."""
        return self._recording.skipped

    @property
    @override
    def doubtful(self) -> Mapping[str, int]:
        """What the recording passed on although it looks wrong."""
        return self._recording.doubtful
