"""The run folder: a file for each finished task."""

from __future__ import annotations

import logging
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec

from polyframe.backtest.sweeps.keys import FORMAT
from polyframe.backtest.sweeps.task import TaskResult
from polyframe.errors import ConfigError
from polyframe.filelock import lock_file
from polyframe.paths import local_path
from polyframe.recording.files import replacing

log = logging.getLogger(__name__)

_decode = msgspec.json.Decoder(tuple[int, TaskResult]).decode
_encode = msgspec.json.Encoder(order="sorted").encode


class RunFolder:
    """Keeps the results of finished tasks, for one program at a time.

    Args:
        folder: Made if it does not exist.

    Raises:
        ConfigError: It cannot be written, is a URL, or another program uses it.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = local_path("folder", folder)
        self._tasks = self.folder / "tasks"
        try:
            self._tasks.mkdir(parents=True, exist_ok=True)
            self._lock: IO[bytes] = (self.folder / ".lock").open("ab")
        except OSError as error:
            msg = f"folder: {self.folder} cannot be written: {error}"
            raise ConfigError(msg) from error
        try:
            lock_file(self._lock)
        except OSError as error:
            self._lock.close()
            msg = f"folder: another sweep writes to {self.folder} ({error}); name another one"
            raise ConfigError(msg) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lock.close()

    def get(self, key: str) -> TaskResult | None:
        """Return the result of a task, ``None`` if it is not there or cannot be read."""
        path = self._path(key)
        try:
            version, result = _decode(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("%s: not usable, the task is run again: %s", path, error)
            return None
        return result if version == FORMAT and result.key == key else None

    def put(self, result: TaskResult) -> None:
        """Keep a result.

        Raises:
            OSError: The disk is full, or the folder cannot be written.
        """
        with replacing(self._path(result.key)) as file:
            file.write(_encode((FORMAT, result)))

    def write(self, name: str, content: bytes) -> Path:
        """Write a file of the run and return its path.

        Raises:
            OSError: As `put`.
        """
        path = self.folder / name
        with replacing(path) as file:
            file.write(content)
        return path

    def _path(self, key: str) -> Path:
        return self._tasks / f"{key}.json"
