"""What every recording offers, wherever it comes from."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from polyframe.errors import ConfigError
from polyframe.recording.tape import TapeEvent, TapeMarket


@runtime_checkable
class Recording(Protocol):
    """Markets that were recorded, and what was heard of each."""

    def markets(self) -> Sequence[TapeMarket]:
        """Return all markets in order of their windows; cheap."""
        ...

    def events(self, market: TapeMarket) -> Iterator[TapeEvent]:
        """Yield what was heard of `market`, in order of ``received_ms``.

        Lazy: a market never is in memory as a whole.

        Raises:
            KeyError: `market` is none of this recording.
        """
        ...

    @property
    def skipped(self) -> Mapping[str, int]:
        """What could not be used so far and was left out, by reason."""
        ...

    @property
    def doubtful(self) -> Mapping[str, int]:
        """What looked wrong so far and was passed on all the same, by reason."""
        ...


def load_optional(module: str, what: str) -> Any:
    """Import a module of the extra ``data``.

    Args:
        module: Its name.
        what: Who needs it, for the message.

    Raises:
        ConfigError: It is not installed; says how to get it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        msg = (
            f"{what}: the package {error.name} is not installed; "
            "install what reads and writes recordings with: pip install '.[data]'"
        )
        raise ConfigError(msg) from error
