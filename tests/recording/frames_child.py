"""A program that records frames until it is killed; it says how many are in their files.

``python -m tests.recording.frames_child FOLDER SEED``
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from polyframe.recording.frames import FrameLog, FrameReader, RawFrame
from polyframe.recording.writer import FrameWriter


def say(text: str) -> None:
    """Print at once: a killed process flushes nothing."""
    os.write(1, f"{text}\n".encode())


def main(folder: Path, seed: int) -> None:
    """Go on where the last one was killed, at an irregular pace, for ever."""
    rng = random.Random(seed)
    folder.mkdir(exist_ok=True)
    first = number = sum(1 for _ in FrameReader(folder))
    log, writer = FrameLog(folder, segment_bytes=20_000), FrameWriter()
    say(f"ready {number}")
    while True:
        for _ in range(rng.choice((1, 3, 40))):
            text = f"{number} ".encode() + rng.randbytes(rng.choice((0, 50, 3000)))
            writer.put(log, RawFrame(number / 4, seed, text))
            number += 1
        time.sleep(rng.uniform(0, 0.01))
        say(str(first + writer.written))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
