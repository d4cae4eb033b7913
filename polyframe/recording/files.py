"""Files that appear when they are complete."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from attrs import field, frozen


@frozen
class Written:
    """What became of a file.

    Attributes:
        path: Where it is.
        events: How many events it has.
        skipped: Events that could not be written, by reason: ``foreign`` (of another market or
            token), ``out_of_range`` (a size that no column holds).
    """

    path: Path
    events: int
    skipped: Mapping[str, int] = field(factory=dict)


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when all went well.

    Raises:
        OSError: The disk is full, or the folder cannot be written; `path` is as it was.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):  # what went wrong is raised; the next attempt replaces the rest
            part.unlink(missing_ok=True)
        raise
