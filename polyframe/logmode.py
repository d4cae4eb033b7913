"""Log lines say whether real money moves: each begins with ``[live]`` or ``[paper]``.

Nothing of the program's logging is configured for that: only polyframe's own loggers get a filter, when
an environment opens.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextvars import ContextVar

from typing_extensions import override

LIVE, PAPER = "live", "paper"

_mode: ContextVar[str] = ContextVar("polyframe_mode", default="")
_open: Counter[str] = Counter()


class _Mark(logging.Filter):
    """Puts the mode before the text, and into the attribute ``mode`` of the record."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        mode = _mode.get()
        if not mode and len(_open) == 1:
            # A thread of ours, such as the ledger's, has no context; there is only one answer.
            mode = next(iter(_open))
        if mode and not hasattr(record, "mode"):
            record.mode = mode
            record.msg = f"[{mode}] {record.msg}"
        return True


_MARK = _Mark()


def marked(logger: logging.Logger) -> logging.Logger:
    """Return `logger`, whose lines say the mode from now on."""
    logger.addFilter(_MARK)  # once, however often it is called
    return logger


def open_mode(*, is_live: bool) -> str:
    """Mark the lines of this task and of those that it starts; return the mode."""
    mode = LIVE if is_live else PAPER
    _mode.set(mode)
    _open[mode] += 1
    mark_loggers()
    return mode


def mark_loggers() -> None:
    """Mark the loggers of all modules that are loaded now."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.startswith("polyframe.") and isinstance(logger, logging.Logger):
            marked(logger)


def close_mode(mode: str) -> None:
    """Forget an environment of that mode; its tasks say it to their end."""
    _open[mode] -= 1
    if _open[mode] <= 0:
        del _open[mode]
