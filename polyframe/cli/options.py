"""What the command line can ask for."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path

from attrs import frozen

from polyframe.errors import ConfigError
from polyframe.model.grid import LARGEST


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
        settings: Texts ``name=value``.
        source: Recorded or synthetic order books.
        seed: Of the synthetic books.
        plain: Print lines even on a terminal.
        verbose: Log what goes well, too.
    """

    cycles: int
    speed: float
    strategy: str
    settings: tuple[str, ...]
    source: Source
    seed: int
    plain: bool
    verbose: bool


class Mode(StrEnum):
    """Whether real money moves."""

    PAPER = "paper"
    LIVE = "live"


@frozen(kw_only=True)
class RunOptions:
    """What the command line asks for; what is empty is as the settings file has it.

    Attributes:
        strategy: As `load_strategy` takes it, or the path of a settings file.
        series: Names of series.
        settings, limits: Texts ``name=value``.
        cycles: Markets of each series to live through, ``None`` for no end.
        cash: USD of a new paper account, as text.
        data: The folder of ledger, paper account and snapshots.
        ledger: The file of the ledger.
        venue: URL of a venue on this machine.
        mode: On paper or live.
        confirm: The sentence that names whose real money may move.
        plain: Print lines even on a terminal.
        verbose: Log what goes well, too.
    """

    strategy: str
    series: tuple[str, ...]
    settings: tuple[str, ...]
    limits: tuple[str, ...]
    cycles: int | None
    cash: str
    data: Path | None
    ledger: Path | None
    venue: str
    mode: Mode | None
    confirm: str
    plain: bool
    verbose: bool


def read_cash(text: str, default: Decimal) -> Decimal:
    """Return the USD that an option says, `default` if it says nothing.

    Raises:
        ConfigError: No amount above 0.
    """
    try:
        cash = Decimal(text) if text else default
    except InvalidOperation:
        cash = Decimal("nan")
    if not (cash.is_finite() and 0 < cash < LARGEST):
        msg = f"cash: expected USD above 0, got {text!r}; and below {LARGEST}"
        raise ConfigError(msg)
    return cash
