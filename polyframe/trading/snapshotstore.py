"""Where snapshots are kept: a folder, or memory for tests.

A store keeps files by key, ``series/name``. It knows nothing of what is in them.
"""

from __future__ import annotations

import errno
import logging
import os
import re
from pathlib import Path
from typing import IO, Protocol

from typing_extensions import override

from polyframe.errors import ConfigError
from polyframe.filelock import lock_file

log = logging.getLogger(__name__)

_KEY = re.compile(r"[a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9@.-]*")
_LOCK = ".lock"
_PART = ".part"


class Store(Protocol):
    """Keeps files by key. Every call is synchronous and may raise `OSError`.

    Attributes:
        blocks: Whether calls may wait for a disk, so that a thread has to write.
    """

    blocks: bool

    def open(self) -> None:
        """Take the store for this process.

        Raises:
            ConfigError: It cannot be used, or another process uses it.
        """
        ...

    def close(self) -> None:
        """Give it back. Safe to repeat."""
        ...

    def keys(self) -> list[str]:
        """Return the keys of all files, sorted."""
        ...

    def read(self, key: str) -> bytes:
        """Return a whole file.

        Raises:
            FileNotFoundError: There is none of that key.
        """
        ...

    def write(self, key: str, data: bytes) -> None:
        """Replace a file as a whole: after a crash it is the old one or the new one."""
        ...

    def append(self, key: str, data: bytes) -> None:
        """Add to the end of a file, which is made if it does not exist."""
        ...

    def remove(self, key: str) -> None:
        """Delete a file, if it exists."""
        ...

    def set_aside(self, key: str) -> str:
        """Take a file out of use without losing it; return where people find it."""
        ...


class FolderStore:
    """Files in a folder, which one process uses at a time.

    What is written is on the disk when `write` returns: a temporary file, `fsync`, rename. What is
    appended is with the operating system: it survives the end of this process, however violent, but
    not a power failure.

    Args:
        folder: Made if it does not exist; its parent must.

    Raises:
        ConfigError: It is a file, or its parent does not exist.
    """

    blocks = True

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if self.folder.exists() and not self.folder.is_dir():
            msg = f"snapshots: {self.folder} is a file; name a folder"
            raise ConfigError(msg)
        if not self.folder.parent.is_dir():
            msg = f"snapshots: the folder {self.folder.parent} does not exist; make it first"
            raise ConfigError(msg)
        self._lock: IO[bytes] | None = None
        self._appending: dict[str, IO[bytes]] = {}

    def open(self) -> None:
        """Make the folder and lock it.

        Raises:
            ConfigError: It cannot be written, or another process uses it.
        """
        try:
            self.folder.mkdir(exist_ok=True)
            lock = (self.folder / _LOCK).open("ab")
        except OSError as error:
            msg = f"snapshots: {self.folder} cannot be written: {error}"
            raise ConfigError(msg) from error
        try:
            lock_file(lock)
        except OSError as error:
            lock.close()
            msg = f"snapshots: {self.folder} cannot be locked ({error}); take one on a local disk"
            if error.errno in (errno.EACCES, errno.EAGAIN, errno.EDEADLK):
                msg = (
                    f"snapshots: {self.folder} is in use by another environment; two of them would "
                    "take each other's orders: give each a folder of its own"
                )
            raise ConfigError(msg) from error
        self._lock = lock
        for part in self.folder.glob(f"*/*{_PART}"):
            # A write was cut off: what it was to replace is still there.
            try:
                part.unlink()
            except OSError as error:
                log.warning("snapshots: %s cannot be deleted: %s", part, error)

    def close(self) -> None:
        """Close all files and unlock the folder."""
        for file in self._appending.values():
            file.close()
        self._appending.clear()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()  # which unlocks it

    def keys(self) -> list[str]:
        """Return the keys of all files, sorted. Files of other names are none of ours."""
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.glob("*/*"))
        return sorted(key for key in found if _KEY.fullmatch(key) and not key.endswith(_PART))

    def read(self, key: str) -> bytes:
        """Return a whole file."""
        return self._path(key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        """Replace a file: temporary file, `fsync`, rename, `fsync` of the folder."""
        path = self._path(key)
        path.parent.mkdir(exist_ok=True)
        part = path.with_name(path.name + _PART)
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync_folder(path.parent)

    def append(self, key: str, data: bytes) -> None:
        """Add to the end of a file, unbuffered."""
        file = self._appending.get(key)
        if file is None:
            path = self._path(key)
            path.parent.mkdir(exist_ok=True)
            file = self._appending[key] = path.open("ab", buffering=0)
        if (written := file.write(data)) != len(data):
            msg = f"{written} of {len(data)} bytes were written"
            raise OSError(errno.ENOSPC, msg)

    def remove(self, key: str) -> None:
        """Delete a file, if it exists."""
        file = self._appending.pop(key, None)
        if file is not None:
            file.close()
        self._path(key).unlink(missing_ok=True)

    def set_aside(self, key: str) -> str:
        """Rename a file to ``*_refused``, or ``*_refused_2`` if there is one already."""
        path = self._path(key)
        target, number = path.with_name(f"{path.name}_refused"), 1
        while target.exists():
            number += 1
            target = path.with_name(f"{path.name}_refused_{number}")
        path.rename(target)
        return str(target)

    def _path(self, key: str) -> Path:
        _check_key(key)
        return self.folder / key

    @override
    def __repr__(self) -> str:
        return f"FolderStore({str(self.folder)!r})"


class MemoryStore:
    """Files in memory, for tests: they last as long as the object.

    Attributes:
        files: What is kept, by key.
        aside: What was set aside, by key.
    """

    blocks = False

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.aside: dict[str, bytes] = {}

    def open(self) -> None:
        """Do nothing: nobody else can have it."""

    def close(self) -> None:
        """Do nothing."""

    def keys(self) -> list[str]:
        """Return the keys of all files, sorted."""
        return sorted(self.files)

    def read(self, key: str) -> bytes:
        """Return a whole file."""
        try:
            return self.files[key]
        except KeyError:
            raise FileNotFoundError(key) from None

    def write(self, key: str, data: bytes) -> None:
        """Replace a file."""
        _check_key(key)
        self.files[key] = data

    def append(self, key: str, data: bytes) -> None:
        """Add to the end of a file."""
        _check_key(key)
        self.files[key] = self.files.get(key, b"") + data

    def remove(self, key: str) -> None:
        """Delete a file, if it exists."""
        self.files.pop(key, None)

    def set_aside(self, key: str) -> str:
        """Move a file to `aside`."""
        self.aside[key] = self.files.pop(key)
        return key


def _check_key(key: str) -> None:
    if not _KEY.fullmatch(key):
        msg = f"key: expected 'series/name' in small letters, digits and '-@.', got {key!r}"
        raise ValueError(msg)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable, where the system can."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows does not open folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network drives cannot
            raise
    finally:
        os.close(handle)
