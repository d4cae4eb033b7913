"""Names for tasks: the same name is the same result."""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import pickle
import sys
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import attrs
import msgspec

from polyframe.errors import ConfigError
from polyframe.recording.kept import KeptRecording
from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeMarket
from polyframe.strategy import Strategy

FORMAT = 1
"""Of what is kept of a task; part of each key."""

LARGEST_PICKLE = 1_000_000
"""Bytes of a pickled recording that are still sent to workers."""


def task_key(
    strategy: Strategy, options: Mapping[str, Any], markets: Iterable[str], version: str
) -> str:
    """Return the key of a task, 32 hexadecimal digits.

    Args:
        strategy: The variant's template.
        options: All else that the run depends on, by name.
        markets: What `market_identity` says of each market.
        version: Of polyframe.

    Raises:
        ConfigError: A setting or option that has no name of its own.
    """
    kind = type(strategy)
    facts = {
        "format": FORMAT,
        "polyframe": version,
        "strategy": f"{kind.__module__}:{kind.__qualname__}",
        "source": source_of(kind),
        "settings": canonical(strategy, "strategy"),
        "options": {name: canonical(value, name) for name, value in sorted(options.items())},
        "markets": list(markets),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]


def market_identity(data: Recording, whole: str, market: TapeMarket) -> str:
    """Return what changes when the recording of `market` changes.

    Args:
        data: Where it is.
        whole: What `data_identity` says of it.
        market: The market.
    """
    identity = getattr(_behind(data), "identity", None)
    rows = whole if identity is None else identity(market)
    told = hashlib.sha256(msgspec.json.encode(market, order="sorted")).hexdigest()
    return f"{market.market.slug} {rows} {told[:16]}"


def data_identity(data: Recording) -> str:
    """Return a hash of a recording that does not say what its markets are made of; ``""`` if it does.

    Raises:
        ConfigError: It cannot be pickled.
    """
    source = _behind(data)
    if hasattr(source, "identity"):
        return ""
    return hashlib.sha256(pickled_data(source)).hexdigest()


def _behind(data: Recording) -> Recording:
    """Return where a recording is read from: what is kept of it changes no result."""
    while isinstance(data, KeptRecording):
        data = data.recording
    return data


def pickled_data(data: Recording) -> bytes:
    """Return a recording as workers get it.

    Raises:
        ConfigError: It cannot be pickled, or it is not opened from files but has all events in it.
    """
    advice = "write it with write_market and pass ParquetRecording(folder)"
    try:
        blob = pickle.dumps(data)
    except Exception as error:
        msg = f"data: {data!r} cannot be sent to workers ({error}); {advice}"
        raise ConfigError(msg) from error
    if len(blob) > LARGEST_PICKLE:
        msg = f"data: {len(blob):,} bytes are too much to send with each task; {advice}"
        raise ConfigError(msg)
    return blob


def is_importable(kind: type) -> bool:
    """Return whether another process with this ``sys.path`` finds a class by its module's name.

    It does not find what was loaded from a file under a made-up name, although it is in
    ``sys.modules`` here; so the finders themselves are asked, for the outermost package.
    """
    name = kind.__module__
    if name == "__main__" or "<locals>" in kind.__qualname__:
        return False
    outermost = name.partition(".")[0]
    return any(finder.find_spec(outermost, None) is not None for finder in sys.meta_path)


def source_of(kind: type) -> str:
    """Return a hash of the text that a strategy class is made of.

    Of a module that is its whole file, of the program's own script only the classes: whoever adds a
    value to the grid there has not changed the strategy.
    """
    texts = []
    for each in kind.__mro__:
        if each is Strategy:
            break
        texts.append(_source_text(each))
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def _source_text(kind: type) -> str:
    if kind.__module__ != "__main__":
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        if file is not None:
            try:
                return Path(file).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError):
                pass  # in an archive, or compiled: what was compiled tells it as well
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return "\0".join(
            f"{name} {_code_text(value.__code__)}"
            for name, value in sorted(vars(kind).items())
            if isinstance(value, FunctionType)
        )


def _code_text(code: CodeType) -> str:
    parts = [code.co_code.hex(), repr(code.co_names)]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            parts.append(_code_text(constant))
        elif isinstance(constant, frozenset):
            parts.append(repr(sorted(map(repr, constant))))
        else:
            parts.append(repr(constant))
    return " ".join(parts)


def canonical(value: Any, name: str) -> Any:
    """Return a value as JSON that is the same for the same value, in any process.

    Raises:
        ConfigError: A value that says nothing of itself; names it.
    """
    if isinstance(value, Enum):
        return [type(value).__qualname__, value.name]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float | Decimal | Path | bytes | complex | timedelta | date | time):
        return [type(value).__name__, str(value)]
    if isinstance(value, type | FunctionType):
        return _canonical_named(value, name)
    if isinstance(value, Mapping):
        pairs = [[canonical(k, name), canonical(v, name)] for k, v in value.items()]
        return ["mapping", sorted(pairs, key=repr)]
    if isinstance(value, AbstractSet):
        return ["set", sorted((canonical(each, name) for each in value), key=repr)]
    if isinstance(value, Sequence):
        return [canonical(each, name) for each in value]
    return _canonical_object(value, name)


def _canonical_named(value: type | FunctionType, name: str) -> Any:
    """Return a class or function by its name; a lambda or an inner function also by what it does."""
    label = f"{value.__module__}:{value.__qualname__}"
    if isinstance(value, type) or "<" not in label:
        return ["named", label]
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    inner = canonical([value.__defaults__, value.__kwdefaults__, cells], name)
    return ["function", label, _code_text(value.__code__), inner]


def _canonical_object(value: Any, name: str) -> Any:
    kind = type(value)
    label = f"{kind.__module__}:{kind.__qualname__}"
    if attrs.has(kind):
        return [
            label,
            _canonical_fields(value, [f.name for f in attrs.fields(kind) if f.init], name),
        ]
    if dataclasses.is_dataclass(value):
        return [label, _canonical_fields(value, [f.name for f in dataclasses.fields(value)], name)]
    if isinstance(value, msgspec.Struct):
        return [label, _canonical_fields(value, kind.__struct_fields__, name)]
    if vars(object)["__repr__"] is not getattr(kind, "__repr__", None):
        told = repr(value)
        if "..." in told:  # a large array or table tells only its edges
            try:
                told += hashlib.sha256(pickle.dumps(value)).hexdigest()
            except Exception as error:
                msg = f"{name}: {told} tells only a part of itself, and cannot be pickled: {error}"
                raise ConfigError(msg) from error
        return [label, told]
    msg = (
        f"{name}: {kind.__name__} says nothing of itself, so nobody can know whether a result is "
        "still of the same; make it an attrs class, or give it a __repr__ with all that matters"
    )
    raise ConfigError(msg)


def _canonical_fields(value: Any, names: Iterable[str], name: str) -> dict[str, Any]:
    return {each: canonical(getattr(value, each), f"{name}.{each}") for each in names}
