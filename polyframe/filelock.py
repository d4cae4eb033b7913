"""A lock on an open file, for folders that one process at a time may use."""

from __future__ import annotations

import os
from typing import IO
from weakref import WeakSet

_held: WeakSet[IO[bytes]] = WeakSet()


def lock_file(file: IO[bytes]) -> None:
    """Lock a file for this process until it is closed, also by the end of the process.

    A process that is forked off has no part in it: its copy of the file is closed at once. Otherwise a
    worker that outlives the program would keep the folder from the next one.

    Raises:
        OSError: Somebody else has it, or it cannot be locked where it lies.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        import msvcrt

        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held.add(file)


def _let_go() -> None:
    """Close the copies of files that another process has locked."""
    for file in tuple(_held):
        file.close()  # which unlocks nothing as long as the other has it open
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
