"""A lock on an open file, for folders that one process at a time may use."""

from __future__ import annotations

from typing import IO


def lock_file(file: IO[bytes]) -> None:
    """Lock a file for this process until it is closed, also by the end of the process.

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
