"""Raw frames on disk: whole, in order, whatever happens to the process or the disk."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from polyframe.errors import ConfigError
from polyframe.recording.frames import HEADER, FrameKind, FrameLog, FrameReader, RawFrame
from polyframe.recording.writer import FrameWriter

ROOT = Path(__file__).resolve().parents[2]

records = st.builds(
    RawFrame,
    st.integers(0, 10**13).map(lambda us: us / 1_000_000),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=200),
    st.sampled_from(FrameKind),
)
blocks = st.lists(st.lists(records, max_size=4), max_size=4)


def frame(number: int, data: bytes = b"") -> RawFrame:
    """Return a frame that is told from others."""
    return RawFrame(float(number), 1, data or f"frame {number}".encode())


@settings(max_examples=60, deadline=None)
@given(blocks, st.integers(1, 400))
def test_what_is_written_is_read(written: list[list[RawFrame]], segment_bytes: int) -> None:
    """All records of all segments come back equal and in order, over restarts too."""
    with TemporaryDirectory() as folder:
        for block in written:
            log = FrameLog(folder, segment_bytes=segment_bytes)
            log.write(block[:2])
            log.write(block[2:])
            log.close()
            log.close()
        reader = FrameReader(folder)
        assert list(reader) == [record for block in written for record in block]
        assert not reader.skipped


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_torn_segment_keeps_its_whole_blocks(data: st.DataObject) -> None:
    """Cut anywhere: all blocks before the cut are read, then the next segment."""
    with TemporaryDirectory() as name:
        folder, ends = Path(name), [0]
        log = FrameLog(folder)
        path = folder / "000001.frames"
        for number in range(5):
            log.write([frame(2 * number), frame(2 * number + 1)])
            ends.append(path.stat().st_size)
        log.close()
        cut = data.draw(st.integers(0, ends[-1] - 1))
        path.write_bytes(path.read_bytes()[:cut])
        after = FrameLog(folder)
        after.write([frame(99)])
        after.close()
        whole = max(number for number, end in enumerate(ends) if end <= cut)
        reader = FrameReader(folder)
        assert list(reader) == [*map(frame, range(2 * whole)), frame(99)]
        assert reader.skipped == ({} if cut in (*ends[1:], len(HEADER)) else {"torn": 1})


def test_a_damaged_block_costs_the_rest_of_its_segment(tmp_path: Path) -> None:
    """A wrong checksum or an absurd length is noticed; other segments are read."""
    for number in range(3):
        log = FrameLog(tmp_path)
        log.write([frame(2 * number)])
        log.write([frame(2 * number + 1)])
        log.close()
    for number, place in ((1, -1), (2, len(HEADER) + 3)):
        path = tmp_path / f"{number:06}.frames"
        data = bytearray(path.read_bytes())
        data[place] ^= 0xFF
        path.write_bytes(data)
    reader = FrameReader(tmp_path)
    assert list(reader) == [frame(0), frame(4), frame(5)]
    assert reader.skipped == {"damaged": 2}


def test_files_of_another_kind_are_skipped(tmp_path: Path) -> None:
    """A segment of another version is counted; files of other names are none of ours."""
    (tmp_path / "000001.frames").write_bytes(HEADER[:-1] + b"\x02 whatever")
    (tmp_path / "notes.frames").write_bytes(b"notes")
    log = FrameLog(tmp_path)
    log.write([frame(0)])
    log.close()
    reader = FrameReader(tmp_path)
    assert list(reader) == [frame(0)]
    assert reader.skipped == {"no_segment": 1}


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """A wrong path is an error, not an empty log."""
    with pytest.raises(ConfigError, match=r"folder: .*missing is no folder"):
        FrameReader(tmp_path / "missing")


def test_small_blocks_compress_like_large_ones(tmp_path: Path) -> None:
    """Frames written one by one take little more than those written together."""
    frames = [
        frame(number, b'{"event_type":"price_change","price":"0.%d"}' % number)
        for number in range(400)
    ]
    one, many = FrameLog(tmp_path / "one"), FrameLog(tmp_path / "many")
    one.write(frames)
    for record in frames:
        many.write([record])
    one.close()
    many.close()
    sizes = [
        (tmp_path / name / "000001.frames").stat().st_size / sum(len(f.data) for f in frames)
        for name in ("one", "many")
    ]
    assert sizes[0] < 0.5
    assert sizes[1] < 0.95


class FullDisk(FrameLog):
    """A log whose disk is full after some blocks, and takes half of the next one."""

    room = 2

    @override
    def write(self, records: Iterable[RawFrame]) -> None:
        self.room -= 1
        if self.room < 0:
            raise OSError(errno.ENOSPC, "no space left on device")
        super().write(records)


def test_a_full_disk_stops_recording_with_an_alarm(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """When the disk is full nothing raises: one alarm, what follows is refused and counted."""
    writer, log = FrameWriter(), FullDisk(tmp_path)
    for number in range(4):
        writer.put(log, frame(number))
        flush(writer, log, number)
    assert writer.failure == "disk"
    assert not writer.put(log, frame(5))
    writer.close().result(10)
    assert (writer.written, writer.lost, writer.refused) == (2, 1, 2)
    alarms = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert len(alarms) == 1
    assert "RECORDING STOPPED (disk)" in alarms[0].getMessage()
    assert list(FrameReader(tmp_path)) == [frame(0), frame(1)]


def flush(writer: FrameWriter, log: FrameLog, number: int) -> None:
    """Wait until `writer` has written what it was given; `log` goes on in a new segment."""
    del number
    writer.close_log(log).result(10)


def test_nothing_is_written_behind_a_hole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once a block could not be written nothing follows it, although there is room again."""
    go = threading.Event()

    class Once(FrameLog):
        has_failed = False

        @override
        def write(self, records: Iterable[RawFrame]) -> None:
            go.wait(10)
            if not self.has_failed:
                self.has_failed = True
                raise OSError(errno.ENOSPC, "no space left on device")
            super().write(records)

    class Broken(FrameLog):
        @override
        def close(self) -> None:
            raise OSError(errno.EIO, "input/output error")

    writer, log = FrameWriter(), Once(tmp_path)
    writer.put(log, frame(0))
    first = writer.close_log(log)
    assert writer.put(log, frame(1))  # nobody knows yet
    second, third = writer.close_log(log), writer.close_log(Broken(tmp_path))
    go.set()
    for done in (first, second, third, writer.close()):
        done.result(10)
    assert (writer.failure, writer.written, writer.lost) == ("disk", 0, 2)
    assert not list(FrameReader(tmp_path))
    assert caplog.text.count("RECORDING STOPPED") == 1


def test_half_a_block_on_a_full_disk_hides_nothing(tmp_path: Path) -> None:
    """A block that was written in part ends its segment: the next one can be read."""
    log = FrameLog(tmp_path)
    log.write([frame(0)])

    file = log._file
    assert file is not None
    write, close = file.write, file.close

    class Half:
        def write(self, data: bytes) -> int:
            write(data[:9])
            return 9

        def close(self) -> None:
            close()

    log._file = Half()  # type: ignore[assignment]
    with pytest.raises(OSError, match="9 of"):
        log.write([frame(1)])
    log.write([frame(2)])
    log.close()
    reader = FrameReader(tmp_path)
    assert list(reader) == [frame(0), frame(2)]
    assert reader.skipped == {"torn": 1}


def test_a_disk_that_hangs_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Too much that waits stops recording; handing over never blocks."""
    go = threading.Event()

    class Slow(FrameLog):
        @override
        def write(self, records: Iterable[RawFrame]) -> None:
            go.wait(10)
            super().write(records)

    writer, log = FrameWriter(backlog_bytes=100), Slow(tmp_path)
    taken = [writer.put(log, frame(number, bytes(40))) for number in range(5)]
    assert taken == [True, True, True, False, False]
    assert writer.failure == "backlog"
    go.set()
    writer.close_log(log).result(10)
    writer.close().result(10)
    writer.close().result(10)
    assert len(list(FrameReader(tmp_path))) == 3
    assert "RECORDING STOPPED (backlog)" in caplog.text


def test_a_defect_stops_recording_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A frame that cannot be encoded stops recording with an alarm; who waits is answered."""
    writer, log = FrameWriter(), FrameLog(tmp_path)
    writer.put(log, RawFrame(0.0, -1, b""))
    writer.close_log(log).result(10)
    assert (writer.failure, writer.lost) == ("error", 1)
    writer.close().result(10)
    assert "RECORDING STOPPED (error)" in caplog.text


def test_closing_closes_all_logs(tmp_path: Path) -> None:
    """The end of the writer leaves no file open."""
    writer, log = FrameWriter(), FrameLog(tmp_path)
    writer.put(log, frame(0))
    writer.close().result(10)
    assert log._file is None
    assert list(FrameReader(tmp_path)) == [frame(0)]


def test_who_gives_up_waiting_does_no_harm(tmp_path: Path) -> None:
    """A cancelled wait for the disk leaves the thread alive: what comes later is written."""
    writer, log = FrameWriter(), FrameLog(tmp_path)

    async def main() -> None:
        writer.put(log, frame(0))
        asyncio.wrap_future(writer.close_log(log)).cancel()
        await asyncio.sleep(0)

    asyncio.run(main())
    writer.put(log, frame(1))
    writer.close().result(10)
    assert list(FrameReader(tmp_path)) == [frame(0), frame(1)]


def test_one_thread_serves_many_logs(tmp_path: Path) -> None:
    """Frames of several markets go to their own folders in their own order."""
    writer = FrameWriter()
    logs = [FrameLog(tmp_path / str(number)) for number in range(3)]
    for number in range(30):
        writer.put(logs[number % 3], frame(number))
    for log in logs:
        writer.close_log(log).result(10)
    writer.close().result(10)
    for number in range(3):
        assert list(FrameReader(tmp_path / str(number))) == [
            frame(other) for other in range(number, 30, 3)
        ]


def test_thirty_kills(tmp_path: Path) -> None:
    """Kill -9 at any instant, 30 times: what was written is read, and the next start goes on."""
    rng, folder = random.Random(7), tmp_path / "frames"
    found: list[RawFrame] = []
    for kill in range(30):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.recording.frames_child", str(folder), str(kill)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )
        assert child.stdout is not None
        with child.stdout as output:
            ready = output.readline().split()
            assert ready[0] == b"ready"
            timer = threading.Timer(rng.uniform(0.0, 0.2), child.kill)
            timer.start()
            lines = [int(line) for line in output if line.endswith(b"\n")]
            timer.join()
            child.wait(10)
        reader = FrameReader(folder)
        found = list(reader)
        assert len(found) >= max(lines, default=int(ready[1]))
        numbers = [int(record.data.split(b" ")[0]) for record in found]
        assert numbers == list(range(len(found)))
        assert all(record.received == number / 4 for number, record in enumerate(found))
        assert set(reader.skipped) <= {"torn"}
    assert len(found) > 1_000
    assert len({record.connection for record in found}) > 10
