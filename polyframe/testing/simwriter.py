"""Threads that write files, in a run on simulated time: nobody overtakes them, and none is left."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from typing import Any

from polyframe.recording.writer import FrameTarget, FrameWriter

PATIENCE = 10.0
"""Real seconds that a disk has to write what a cycle recorded."""


@contextmanager
def writers_in_turn() -> Iterator[None]:
    """Wait in real time for what a `FrameWriter` was asked to finish, and end them all afterwards.

    Simulated time does not know when a thread is done: whether it is within a deadline would be
    different in each run. And who was killed closes nothing, so its threads would wait for ever.
    """
    writers: list[FrameWriter] = []
    make, ask = FrameWriter.__init__, FrameWriter._ask

    def made(writer: FrameWriter, **options: Any) -> None:
        make(writer, **options)
        writers.append(writer)

    def asked(writer: FrameWriter, target: FrameTarget | None) -> Future[None]:
        done = ask(writer, target)
        wait([done], PATIENCE)
        return done

    _put(made, asked)
    try:
        yield
    finally:
        for writer in writers:
            writer.close()
        _put(make, ask)


def _put(make: Callable[..., None], ask: Callable[..., Future[None]]) -> None:
    for name, function in (("__init__", make), ("_ask", ask)):
        setattr(FrameWriter, name, function)
