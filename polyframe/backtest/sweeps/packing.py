"""Strategies as bytes that a worker can make them of again."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from polyframe.backtest.sweeps.keys import is_importable
from polyframe.errors import ConfigError
from polyframe.strategy import Strategy
from polyframe.templates import import_file


def pack(strategy: Strategy, *, is_local: bool) -> bytes:
    """Return a strategy's template as bytes.

    Args:
        strategy: The template.
        is_local: Whether the workers are processes of ours, which import the files that `files_of`
            names.

    Raises:
        ConfigError: It cannot be sent.
    """
    kind = type(strategy)
    if is_importable(kind) or (is_local and _file_of(kind) is not None):
        return _dumps(pickle, strategy)
    try:
        cloudpickle = importlib.import_module("cloudpickle")
    except ModuleNotFoundError as error:
        msg = (
            f"strategy: workers cannot import {kind.__name__}, because it is defined in "
            f"{_where(kind)}; put it into a module, or install what sends it as a whole: "
            "pip install cloudpickle"
        )
        raise ConfigError(msg) from error
    module = sys.modules.get(kind.__module__)
    if module is None or kind.__module__ == "__main__":
        return _dumps(cloudpickle, strategy)  # sends what is in __main__ as a whole anyway
    cloudpickle.register_pickle_by_value(module)
    try:
        return _dumps(cloudpickle, strategy)
    finally:
        cloudpickle.unregister_pickle_by_value(module)


def files_of(strategies: Iterable[Strategy]) -> dict[str, str]:
    """Return the modules that processes of ours have to import from files, by name.

    ``__main__`` is none: Python's own spawning imports it.
    """
    found = {}
    for strategy in strategies:
        kind = type(strategy)
        path = _file_of(kind)
        if path is not None and kind.__module__ != "__main__" and not is_importable(kind):
            found[kind.__module__] = path
    return found


def import_files(files: dict[str, str]) -> None:
    """Import modules from files under the names that they have in the sweeping process."""
    for name, path in files.items():
        if name not in sys.modules:
            import_file(Path(path), name)


def _file_of(kind: type) -> str | None:
    """Return the file that a class can be imported from once more."""
    if "<locals>" in kind.__qualname__:
        return None
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    if file is None or not Path(file).is_file():
        return None
    if kind.__module__ == "__main__" and hasattr(sys, "ps1"):
        return None  # an interpreter with a script behind it: spawning would not import that
    return str(Path(file).resolve())


def _where(kind: type) -> str:
    if "<locals>" in kind.__qualname__:
        return "a function"
    return "a notebook or an interpreter" if kind.__module__ == "__main__" else kind.__module__


def _dumps(pickler: Any, strategy: Strategy) -> bytes:
    try:
        blob: bytes = pickler.dumps(strategy)
    except Exception as error:
        msg = f"strategy: {strategy!r} cannot be sent to workers: {error}"
        raise ConfigError(msg) from error
    return blob
