"""What the command line can ask for."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen


class Source(StrEnum):
    """Where the order books come from."""

    REAL = "real"
    SYNTHETIC = "synthetic"


@frozen
class DemoOptions:
    """What the command line asks for.

    Attributes:
        cycles: Markets to live through.
        speed: Market seconds per real second.
        strategy: As `load_strategy` takes it.
        source: Recorded or synthetic order books.
        seed: Of the synthetic books.
        plain: Print lines even on a terminal.
        verbose: Log what goes well, too.
    """

    cycles: int
    speed: float
    strategy: str
    source: Source
    seed: int
    plain: bool
    verbose: bool
