"""Writes raw frames in a thread of its own: the event loop hands them over and never waits."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from typing import Protocol

from attrs import frozen

from polyframe.recording.frames import RawFrame

log = logging.getLogger(__name__)

GATHER = 0.05
"""Real seconds for which frames are gathered before they are written together: what a kill costs."""

BACKLOG_BYTES = 64 * 1024 * 1024
"""Frames that may wait for the disk."""


class FrameTarget(Protocol):
    """Where frames go, such as a `FrameLog`. The thread alone calls it."""

    def write(self, records: Iterable[RawFrame]) -> None:
        """Add `records`, all of them or with an `OSError`."""
        ...

    def close(self) -> None:
        """Close it. Safe to repeat; may raise `OSError`."""
        ...


@frozen
class _Close:
    """Asks the thread to close one log, or to end if it names none."""

    log: FrameTarget | None
    done: Future[None]


class FrameWriter:
    """One thread that writes the frames of any number of logs.

    All methods are for one thread, that of the event loop.

    Args:
        backlog_bytes: Frames that may wait for the disk before recording stops.

    Attributes:
        failure: Why recording stopped: ``"disk"``, ``"backlog"``, or ``"error"`` for a defect of
            ours; ``""`` while it goes on. It does not begin again: a recording with holes that
            nobody knows of is worse than none.
        refused: Frames that were not taken since.
        lost: Frames that were taken and could not be written.
        written: Frames that are in their files.
    """

    def __init__(self, *, backlog_bytes: int = BACKLOG_BYTES) -> None:
        self.failure = ""
        self.refused = self.lost = self.written = 0
        self._accepted = self._done = 0
        self._backlog = backlog_bytes
        self._queue: queue.SimpleQueue[tuple[FrameTarget, RawFrame] | _Close] = queue.SimpleQueue()
        self._is_broken = False
        self._open: set[FrameTarget] = set()
        self._hurry = threading.Event()
        # A disk that hangs must not keep the program from ending.
        self._thread = threading.Thread(target=self._main, name="frame writer", daemon=True)
        self._thread.start()

    def put(self, target: FrameTarget, frame: RawFrame) -> bool:
        """Hand over one frame; return whether it was taken."""
        if not self.failure and self._accepted - self._done > self._backlog:
            self._stop("backlog", f"{self._backlog} bytes wait for the disk")
        if self.failure:
            self.refused += 1
            return False
        self._accepted += len(frame.data)
        self._queue.put((target, frame))
        return True

    def close_log(self, target: FrameTarget) -> Future[None]:
        """Have all that was handed over written and `target` closed; return when that is done."""
        return self._ask(target)

    def close(self) -> Future[None]:
        """Have everything written, all logs closed and the thread ended. Safe to repeat."""
        return self._ask(None)

    def _ask(self, target: FrameTarget | None) -> Future[None]:
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # who waits may give up; the thread answers all the same
        if self._thread.is_alive():
            self._queue.put(_Close(target, done))
            self._hurry.set()
        else:
            done.set_result(None)
        return done

    # ------------------------------------------------------------------ the thread

    def _main(self) -> None:
        while True:
            items = [self._queue.get()]
            self._hurry.wait(GATHER)
            self._hurry.clear()
            while not self._queue.empty():
                items.append(self._queue.get())
            if (end := self._work(items)) is not None:
                for target in list(self._open):
                    self._close(target)
                end.set_result(None)
                return

    def _work(self, items: list[tuple[FrameTarget, RawFrame] | _Close]) -> Future[None] | None:
        """Do what was asked for, in order; return what waits for the end, if the end was asked."""
        waiting: dict[FrameTarget, list[RawFrame]] = {}
        end: Future[None] | None = None
        for item in items:
            if not isinstance(item, _Close):
                target, frame = item
                waiting.setdefault(target, []).append(frame)
            elif item.log is None:
                end = item.done
            else:
                self._write(item.log, waiting.pop(item.log, []))
                self._close(item.log)
                item.done.set_result(None)
        for target, frames in waiting.items():
            self._write(target, frames)
        return end

    def _write(self, target: FrameTarget, frames: list[RawFrame]) -> None:
        if not frames:
            return
        if self._is_broken:
            self.lost += len(frames)
        else:
            self._open.add(target)
            try:
                target.write(frames)
                self.written += len(frames)
            except Exception as error:  # noqa: BLE001 - the thread must live to answer who waits
                self.lost += len(frames)
                self._fail(error)
        self._done += sum(len(frame.data) for frame in frames)

    def _close(self, target: FrameTarget) -> None:
        self._open.discard(target)
        try:
            target.close()
        except OSError as error:
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._is_broken = True
        reason = "disk" if isinstance(error, OSError) else "error"
        self._stop(reason, f"{type(error).__name__}: {error}")

    def _stop(self, reason: str, detail: str) -> None:
        if self.failure:
            return  # one alarm is enough
        self.failure = reason
        log.critical(
            "RECORDING STOPPED (%s): %s; trading is not affected. Make room and start it again",
            reason,
            detail,
        )
