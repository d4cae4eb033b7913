"""Who won, where nothing but the rows of a recording says it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from polyframe.model.events import MarketResolved
from polyframe.model.market import Market, Outcome
from polyframe.recording.reader import Piece
from polyframe.recording.tape import Timed

LATEST = 86_400
"""Seconds after the end of a window in which a row may say who won."""


class Verdict:
    """Passes on what was heard of a market, and remembers what it says of who won.

    Args:
        pieces: What was heard.
        market: The market.

    Attributes:
        winner: Who won; ``None`` as long as nothing that was passed on says it.
        told_ms: When that was heard, in epoch milliseconds.
    """

    def __init__(self, pieces: Iterator[Piece], market: Market) -> None:
        self.winner: Outcome | None = None
        self.told_ms = 0
        self._pieces = pieces
        self._market = market

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        piece = next(self._pieces)
        message = piece.message if isinstance(piece, Timed) else None
        if isinstance(message, MarketResolved):
            winner = self._market.outcome(message.winning_token)
            if winner is not None:
                self.winner, self.told_ms = winner, piece.received_ms
        return piece

    def read_on(self) -> None:
        """Go on, for some time: what tells who won most often comes behind the window.

        Not to the end, which what makes up its events as it goes may not have.
        """
        until_ms = (self._market.window.end + LATEST) * 1000
        for piece in self:
            if piece.received_ms > until_ms:
                return
