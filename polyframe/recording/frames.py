"""Raw frames on disk: what came over the wire, exactly, so that it can be decoded again later.

A folder has numbered segments, each begun by one process and never touched again by another. A
segment is a header and blocks; a block is a length, a checksum and what they speak of: the next
piece of one zlib stream, flushed so that it can be read without what follows. Inside are whole
records. So small blocks compress like large ones, a process that is killed loses at most the block
that it was writing, and a damaged block costs the rest of its segment and no other.
"""

from __future__ import annotations

import errno
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import IntEnum
from pathlib import Path
from typing import IO

import msgspec

from polyframe.errors import ConfigError

HEADER = b"PFRAMES\x01"
"""The name of the format, and its version."""

SEGMENT_BYTES = 64 * 1024 * 1024
"""Compressed size after which the next segment begins."""

SUFFIX = ".frames"

_BLOCK = struct.Struct("<II")
"""Length of what follows, and its CRC-32."""
_RECORD = struct.Struct("<BqII")
"""Kind, microseconds of the epoch, number of the connection, length of the data."""
_MAX_BLOCK = 256 * 1024 * 1024


class FrameKind(IntEnum):
    """What a record is."""

    FRAME = 0
    """A frame as it came."""
    CONNECTED = 1
    """A connection is up."""
    LOST = 2
    """It is gone; the data is the reason."""


class RawFrame(msgspec.Struct, frozen=True, gc=False):
    """One record.

    Attributes:
        received: Epoch seconds of our clock.
        connection: Number of the connection, counted by who recorded it.
        data: The frame, or the reason of a loss.
        kind: What it is.
    """

    received: float
    connection: int
    data: bytes
    kind: FrameKind = FrameKind.FRAME


class FrameLog:
    """Adds to the segments of one folder; for one thread and one process at a time.

    Args:
        folder: Made when the first block is written.
        segment_bytes: Compressed size after which the next segment begins.
    """

    def __init__(self, folder: str | Path, *, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = Path(folder)
        self._segment_bytes = segment_bytes
        self._file: IO[bytes] | None = None
        self._size = 0
        self._compress = zlib.compressobj()

    def write(self, records: Iterable[RawFrame]) -> None:
        """Add `records` as one block; it survives the end of the process when this returns.

        Raises:
            OSError: The disk is full or broken. What was written before can be read; the next call
                begins a new segment.
        """
        if self._file is None or self._size >= self._segment_bytes:
            self._begin_segment()
        plain = b"".join([_encode(record) for record in records])
        data = self._compress.compress(plain) + self._compress.flush(zlib.Z_SYNC_FLUSH)
        self._append(_BLOCK.pack(len(data), zlib.crc32(data)) + data)

    def close(self) -> None:
        """Have everything on the disk, as far as the operating system can say. Safe to repeat.

        Raises:
            OSError: The disk is broken; the file is closed all the same.
        """
        file, self._file = self._file, None
        if file is not None:
            with file:
                os.fsync(file.fileno())

    def _begin_segment(self) -> None:
        self.close()
        self.folder.mkdir(parents=True, exist_ok=True)
        number = max(map(_number, _segments(self.folder)), default=0) + 1
        self._compress = zlib.compressobj()
        self._file = (self.folder / f"{number:06}{SUFFIX}").open("xb", buffering=0)
        self._size = 0
        self._append(HEADER)

    def _append(self, data: bytes) -> None:
        file = self._file
        if file is None:
            return
        try:
            if (written := file.write(data)) != len(data):
                msg = f"{written} of {len(data)} bytes were written"
                raise OSError(errno.ENOSPC, msg)
        except OSError:
            self._file = None  # it is torn: nothing may follow
            file.close()
            raise
        self._size += len(data)


class FrameReader:
    """Reads the segments of a folder, in order.

    Attributes:
        skipped: What could not be read, by reason: ``torn`` (a segment that ends within a block, as
            after a kill), ``damaged`` (a block with a wrong checksum; the rest of its segment is
            lost), ``no_segment`` (a file of another kind or version).

    Raises:
        ConfigError: There is no such folder.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            msg = f"folder: {self.folder} is no folder; name the one that frames are in"
            raise ConfigError(msg)
        self.skipped: Counter[str] = Counter()

    def __iter__(self) -> Iterator[RawFrame]:
        for path in _segments(self.folder):
            with path.open("rb") as file:
                yield from self._segment(file)

    def _segment(self, file: IO[bytes]) -> Iterator[RawFrame]:
        if (header := file.read(len(HEADER))) != HEADER:
            self.skipped["torn" if HEADER.startswith(header) else "no_segment"] += 1
            return
        decompress = zlib.decompressobj().decompress
        while head := file.read(_BLOCK.size):
            length, checksum = _BLOCK.unpack(head) if len(head) == _BLOCK.size else (1, 0)
            if length > _MAX_BLOCK:
                self.skipped["damaged"] += 1
                return
            data = file.read(length)
            if len(head) < _BLOCK.size or len(data) < length:
                self.skipped["torn"] += 1
                return
            if zlib.crc32(data) != checksum:
                self.skipped["damaged"] += 1
                return
            yield from _decode(decompress(data))


def _encode(record: RawFrame) -> bytes:
    received = round(record.received * 1_000_000)
    head = _RECORD.pack(record.kind, received, record.connection, len(record.data))
    return head + record.data


def _decode(plain: bytes) -> Iterator[RawFrame]:
    place = 0
    while place < len(plain):
        kind, received, connection, length = _RECORD.unpack_from(plain, place)
        place += _RECORD.size
        data = plain[place : place + length]
        place += length
        yield RawFrame(received / 1_000_000, connection, data, FrameKind(kind))


def _segments(folder: Path) -> list[Path]:
    found = (path for path in folder.glob(f"*{SUFFIX}") if path.stem.isdecimal())
    return sorted(found, key=_number)


def _number(path: Path) -> int:
    return int(path.stem)
