"""One recorder per folder."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from polyframe.errors import ConfigError
from polyframe.filelock import lock_file


class FolderLock:
    """Keeps a folder for one process; ends with the process, however violent its end.

    Args:
        folder: Made when the lock is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file: IO[bytes] | None = None

    def take(self) -> None:
        """Take the folder.

        Raises:
            ConfigError: It cannot be written, or another recorder has it.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = (self._folder / ".lock").open("ab")
        except OSError as error:
            msg = f"folder: {self._folder} cannot be written: {error}"
            raise ConfigError(msg) from error
        try:
            lock_file(file)
        except OSError as error:
            file.close()
            msg = f"folder: another recorder writes to {self._folder} ({error}); name another one"
            raise ConfigError(msg) from error
        self._file = file

    def release(self) -> None:
        """Give it back. Safe to repeat."""
        file, self._file = self._file, None
        if file is not None:
            file.close()
