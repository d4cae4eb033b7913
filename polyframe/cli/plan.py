"""What ``polyframe run`` is to do: its options, and the settings file if there is one, as one plan."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from attrs import evolve, field, frozen

from polyframe.cli.loading import load_strategy, read_texts, read_value_each
from polyframe.cli.options import Mode, RunOptions, read_cash
from polyframe.cli.outputs import check_file, check_folder
from polyframe.errors import ConfigError
from polyframe.model.series import Series
from polyframe.paper.exchange import START_CASH
from polyframe.strategy import Strategy
from polyframe.trading.limits import RiskLimits

SERIES = "btc-updown-15m"
"""What is traded if nothing else is asked for."""

_MODES = ("local", *Mode)

_ENTRIES = ("class", "mode", "series", "cash", "data", "strategy", "limits")


@frozen(kw_only=True)
class Plan:
    """What to run on what.

    Attributes:
        name: The strategy as it was named.
        strategy: Its template.
        series: What it trades.
        limits: What it may do.
        cash: USD of a new paper account.
        is_live: Whether the wallet's account is traded, and not one on paper.
        venue: URL of a venue on this machine, ``""`` for the real one.
        ledger: The file of the ledger, ``None`` for one in memory.
        snapshots: The folder of the snapshots, ``None`` for none.
        account: The folder of the paper account, ``None`` for one in memory.
        cycles: Markets of each series to live through, ``None`` for no end.
    """

    name: str
    strategy: Strategy
    series: tuple[Series, ...]
    limits: RiskLimits
    cash: Decimal
    is_live: bool
    venue: str
    ledger: Path | None
    snapshots: Path | None
    account: Path | None
    cycles: int | None


@frozen(kw_only=True)
class _File:
    """A settings file, as ``polyframe new`` makes it; empty where it says nothing.

    Attributes:
        path: Where it is.
        strategy: The strategy, as `load_strategy` takes it.
        mode, series, cash: As `RunOptions`.
        data: The folder, relative to the file's.
        settings, limits: Values as texts, by name.
    """

    path: Path
    strategy: str
    mode: str = Mode.PAPER
    series: tuple[str, ...] = ()
    cash: str = ""
    data: Path | None = None
    settings: Mapping[str, list[str]] = field(factory=dict)
    limits: Mapping[str, list[str]] = field(factory=dict)


def make_plan(options: RunOptions) -> Plan:
    """Return what `options` ask for; what they leave open is as in the settings file.

    Raises:
        ConfigError: An option or an entry that cannot be, no such strategy, or a place that cannot be
            written to.
        StrategyDefinitionError: The strategy would leak state between cycles.
    """
    is_file = options.strategy.endswith(".toml")
    file = _read(Path(options.strategy)) if is_file else None
    settings, limits = read_texts(options.settings), read_texts(options.limits, "limit")
    if file is None:
        file = _File(path=Path(), strategy=options.strategy)
    else:
        settings, limits = {**file.settings, **settings}, {**file.limits, **limits}
    names = options.series or file.series or (SERIES,)
    plan = Plan(
        name=file.strategy,
        strategy=load_strategy(file.strategy, settings),
        series=tuple(dict.fromkeys(Series.parse(name) for name in names)),
        limits=RiskLimits(**read_value_each(RiskLimits, limits, "limit")),
        cash=read_cash(options.cash or file.cash, START_CASH),
        is_live=_mode(options, file) is Mode.LIVE,
        venue=options.venue,
        ledger=options.ledger,
        snapshots=None,
        account=None,
        cycles=options.cycles,
    )
    data = options.data or file.data
    check_folder("data", data)
    if data is not None:
        plan = _kept(plan, data)
    elif plan.is_live and not plan.venue:
        msg = (
            "data: with real money a run has to keep what a restart needs (whose orders are whose, "
            "what they earned); say --data FOLDER"
        )
        raise ConfigError(msg)
    check_file("ledger", plan.ledger)
    return plan


def _kept(plan: Plan, data: Path) -> Plan:
    """Return `plan` with places in the folder `data`, those that a project's own program has, too."""
    if plan.venue:
        # Its markets may begin anew with each start: there is nothing to go on with.
        return evolve(plan, ledger=plan.ledger or data / "local.sqlite")
    mode = Mode.LIVE if plan.is_live else Mode.PAPER
    return evolve(
        plan,
        ledger=plan.ledger or data / f"{mode}.sqlite",
        snapshots=data / f"snapshots-{mode}",
        account=None if plan.is_live else data / "account",
    )


def _mode(options: RunOptions, file: _File) -> Mode:
    """Return the mode. Real money is asked for on the command line, never by a file alone.

    Raises:
        ConfigError: The file says something else than paper, and the command line nothing.
    """
    if options.mode is not None:
        return options.mode
    if file.mode != Mode.PAPER:
        msg = (
            f"mode: {file.path} says {file.mode!r}, which polyframe run does not take from a file; "
            "say --mode paper, or --mode live for real money"
        )
        raise ConfigError(msg)
    return Mode.PAPER


def _read(path: Path) -> _File:
    """Return a settings file.

    Raises:
        ConfigError: It cannot be read, or has an entry that cannot be; names it.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        msg = f"settings: {path} cannot be read: {why}"
        raise ConfigError(msg) from error
    except tomllib.TOMLDecodeError as error:
        msg = f"settings: {path} is no TOML: {error}"
        raise ConfigError(msg) from error
    if unknown := sorted(table.keys() - set(_ENTRIES)):
        msg = f"settings: {path} has an unknown entry {unknown[0]}; there is {', '.join(_ENTRIES)}"
        raise ConfigError(msg)
    found = table.get("class")
    if not isinstance(found, str) or not found:
        msg = (
            f"class: {path} does not say which strategy it is for; add "
            'class = "path/to/file.py:ClassName", a path beginning at that file\'s folder'
        )
        raise ConfigError(msg)
    place, _, name = found.rpartition(":")
    strategy = f"{path.parent / place}:{name}" if place.endswith(".py") else found
    mode = table.get("mode", Mode.PAPER)
    if mode not in _MODES:
        msg = f"mode: expected one of {', '.join(_MODES)}, got {mode!r}"
        raise ConfigError(msg)
    series = table.get("series", [])
    if not isinstance(series, list) or not all(isinstance(each, str) for each in series):
        msg = f'series: expected a list such as ["{SERIES}"], got {series!r}'
        raise ConfigError(msg)
    data = table.get("data")
    return _File(
        path=path,
        strategy=strategy,
        mode=mode,
        series=tuple(series),
        cash=str(table.get("cash", "")),
        data=None if data is None else path.parent / str(data),
        settings=_texts(table, "strategy"),
        limits=_texts(table, "limits"),
    )


def _texts(table: dict[str, Any], name: str) -> dict[str, list[str]]:
    """Return the values of a table of the file as texts, which are read as the class declares them."""
    found = table.get(name, {})
    if not isinstance(found, dict):
        msg = f"{name}: expected a table [{name}], got {found!r}"
        raise ConfigError(msg)
    texts = {}
    for entry, value in found.items():
        if isinstance(value, dict | list):
            msg = f"{name}.{entry}: expected one value, got {value!r}"
            raise ConfigError(msg)
        texts[entry] = [str(value)]
    return texts
