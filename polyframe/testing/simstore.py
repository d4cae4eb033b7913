"""The disk of a simulated computer: it outlives processes, is full at times, and rots."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable

from polyframe.testing.faults import Fault, Faults
from polyframe.trading.snapshotfile import Bucket
from polyframe.trading.snapshotstore import MemoryStore


class SimDisk:
    """Files that outlive processes.

    Args:
        faults: What goes wrong with them while no process runs.

    Attributes:
        store: The files.
        doubtful: Slugs of the cycles of which the files may not tell everything.
    """

    def __init__(self, faults: Faults) -> None:
        self.store = MemoryStore()
        self.doubtful: set[str] = set()
        self._faults = faults

    def rest(self) -> None:
        """Let happen what happens while no process runs."""
        faults, files = self._faults, self.store.files
        if faults.hit(Fault.STORE_LOST):
            for key in list(files):
                self.doubt(key)
            files.clear()
        if files and faults.hit(Fault.STORE_ROT):
            source, keys = faults.source(Fault.STORE_ROT), sorted(files)
            for key in source.sample(keys, source.randint(1, len(keys))):
                self.doubt(key)
                if source.random() < 0.3:
                    # A backup that was put back in the wrong place, if there is another file.
                    files[key] = files[source.choice(keys)]
                else:
                    files[key] = _damaged(files[key], source)

    def doubt(self, key: str) -> None:
        """Note that something of a file is not what was written."""
        bucket = Bucket.parse(key)
        if bucket is not None:
            self.doubtful.add(bucket.slug)


class SimStore:
    """What one process has of the disk; after its death it changes nothing any more.

    Args:
        disk: The disk.
        faults: Says when it is full, or a line torn.
        kill: Kills the process.
        on_write: Called when something was written, with ``"write"`` or ``"append"``.
    """

    blocks = False

    def __init__(
        self,
        disk: SimDisk,
        faults: Faults,
        kill: Callable[[], None],
        on_write: Callable[[str], None],
    ) -> None:
        self.is_cut = False
        self._disk = disk
        self._store = disk.store
        self._faults = faults
        self._kill = kill
        self._on_write = on_write

    def open(self) -> None:
        """Do nothing: one process comes after the other."""

    def close(self) -> None:
        """Do nothing."""

    def keys(self) -> list[str]:
        """Return the keys of all files, sorted."""
        return self._store.keys()

    def read(self, key: str) -> bytes:
        """Return a whole file."""
        return self._store.read(key)

    def write(self, key: str, data: bytes) -> None:
        """Replace a file, or keep the old one."""
        if self.is_cut:
            return
        self._check_space()
        self._store.write(key, data)
        self._on_write("write")

    def append(self, key: str, data: bytes) -> None:
        """Add to the end of a file, perhaps only a part."""
        if self.is_cut:
            return
        source = self._faults.source(Fault.STORE_TORN)
        if self._faults.hit(Fault.STORE_TORN):
            self._store.append(key, data[: source.randrange(len(data))])
            self._kill()
            return
        try:
            self._check_space()
        except OSError:
            # Its order leaves all the same, and so do those until a snapshot has them.
            self._disk.doubt(key)
            self._store.append(key, data[: source.randrange(len(data))])
            raise
        self._store.append(key, data)
        self._on_write("append")

    def remove(self, key: str) -> None:
        """Delete a file, if it exists."""
        if not self.is_cut:
            self._store.remove(key)

    def set_aside(self, key: str) -> str:
        """Take a file out of use."""
        return key if self.is_cut else self._store.set_aside(key)

    def _check_space(self) -> None:
        if self._faults.hit(Fault.STORE_FULL):
            raise OSError(errno.ENOSPC, "simulated: no space left on device")


def _damaged(data: bytes, source: random.Random) -> bytes:
    """Return a file of which the end is missing, or in which a bit or some digits are others."""
    if not data:
        return b"\0"
    form, place = source.randrange(4), source.randrange(len(data))
    if form == 0:
        return data[:place]
    if form == 1:
        return data[:place] + bytes([data[place] ^ 1 << source.randrange(8)]) + data[place + 1 :]
    # The worst kind: it still can be read.
    digits = [number for number, byte in enumerate(data) if chr(byte).isdigit()]
    damaged = bytearray(data)
    for number in source.sample(digits, min(len(digits), source.choice((1, 5)))):
        damaged[number] = ord(str(source.randrange(10)))
    return bytes(damaged)
