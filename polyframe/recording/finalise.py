"""From the raw frames of a market to its file.

Below the folder of a recorder, ``raw/<series>/<slug>/`` has the frames of one market and what is
known of it (``market.json``). Everything here may take seconds and belongs into a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from polyframe.errors import ConfigError
from polyframe.model.events import MarketMessage
from polyframe.recording.files import Written, replacing
from polyframe.recording.frames import FrameKind, FrameReader
from polyframe.recording.parquet import write_market
from polyframe.recording.tape import Gap, TapeEvent, TapeMarket, Timed, file_name

Decode = Callable[[bytes], Sequence[MarketMessage]]

_RAW = "raw"
_MARKET = "market.json"

_encode = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder(TapeMarket).decode


def raw_folder(folder: Path, market: TapeMarket) -> Path:
    """Return where the frames of `market` are below `folder`."""
    return folder / _RAW / str(market.market.series) / file_name(market.market)


def raw_folders(folder: Path) -> list[Path]:
    """Return the folders of all markets whose frames are below `folder`."""
    return sorted(path.parent for path in folder.glob(f"{_RAW}/*/*/{_MARKET}"))


def save_market(raw: Path, market: TapeMarket) -> None:
    """Write what is known of a market beside its frames; replaced as a whole."""
    raw.mkdir(parents=True, exist_ok=True)
    with replacing(raw / _MARKET) as file:
        file.write(_encode(market))


def load_market(raw: Path) -> TapeMarket:
    """Return what is known of the market whose frames are in `raw`.

    Raises:
        ConfigError: It cannot be read; names the file.
    """
    path = raw / _MARKET
    try:
        return _decode(path.read_bytes())
    except (OSError, ValueError) as error:
        msg = f"{path}: expected what a recorder wrote of a market: {error}"
        raise ConfigError(msg) from error


def tape_events(frames: FrameReader, decode: Decode) -> Iterator[TapeEvent]:
    """Yield what `frames` say.

    Every connection is an epoch of its own, over restarts of the recorder too. A gap begins where a
    connection was lost, where the recorder was killed (``restart``), and where frames cannot be read
    (``damaged``).
    """
    epoch = last = damaged = 0
    is_heard = False
    for record in frames:
        received = round(record.received * 1000)
        if is_heard and frames.skipped["damaged"] > damaged:
            yield Gap(last, "damaged")
        damaged = frames.skipped["damaged"]
        if record.kind is FrameKind.CONNECTED:
            if is_heard:
                yield Gap(last, "restart")
            epoch, is_heard = epoch + 1, True
        elif record.kind is FrameKind.LOST:
            if is_heard:
                yield Gap(received, record.data.decode("utf-8", "replace"))
            is_heard = False
        else:
            for message in decode(record.data):
                yield Timed(received, epoch, message)
        last = received


def finalise(
    folder: str | Path, raw: str | Path, decode: Decode, market: TapeMarket | None = None
) -> Written:
    """Write the file of a market from its frames, once more if it exists.

    Args:
        folder: Where the file goes; a path or a URL of fsspec.
        raw: Where the frames are; they stay as they are.
        decode: Of the exchange that sent them.
        market: What is known of the market; by default what was written beside the frames.

    Raises:
        ConfigError: There are no such frames, or pyarrow is not installed.
        OSError: The disk is full; an earlier file is as it was.
    """
    raw = Path(raw)
    market = market or load_market(raw)
    return write_market(folder, market, tape_events(FrameReader(raw), decode))
