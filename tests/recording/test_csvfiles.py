"""Recorded markets as CSV files."""

from __future__ import annotations

import csv
import pickle
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from polyframe.errors import ConfigError
from polyframe.model.events import BookDelta, BookSnapshot, LevelChange, TradePrint
from polyframe.recording.csvfiles import CsvRecording, write_csv
from polyframe.recording.reader import Recording
from polyframe.recording.tape import Gap, TapeEvent, Timed
from tests.recording.kit import (
    CONDITION,
    DOWN,
    EXAMPLES,
    MARKET,
    START_MS,
    TAPE,
    UP,
    make_tape,
    tapes,
)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """A market and an event of each kind come back equal."""
    written = write_csv(tmp_path, TAPE, EXAMPLES)
    assert Path(written.location) == tmp_path / "btc-updown-15m" / f"{MARKET.slug}.csv"
    assert (written.events, written.skipped) == (len(EXAMPLES), {})
    recording = CsvRecording(tmp_path)
    assert isinstance(recording, Recording)
    assert recording.markets() == [TAPE]
    assert list(recording.events(TAPE)) == list(EXAMPLES)
    assert recording.skipped == {}


@settings(max_examples=60, deadline=None)
@given(tapes())
def test_any_tape_survives(events: list[TapeEvent]) -> None:
    """Whatever the market channel says comes back equal."""
    with TemporaryDirectory() as folder:
        assert write_csv(folder, TAPE, events).events == len(events)
        assert list(CsvRecording(folder).events(TAPE)) == events


def test_people_can_read_it(tmp_path: Path) -> None:
    """Numbers are decimal, without exponents; commas, quotes and line ends of a reason survive."""
    gap = Gap(START_MS + 20, 'he said "closed",\nand was')
    path = Path(write_csv(tmp_path, TAPE, [*EXAMPLES, gap]).location)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["bids"] == "0.4:5.5"
    assert (rows[2]["price"], rows[2]["size"], rows[2]["side"]) == ("0.39", "0.000001", "BUY")
    assert rows[-1]["reason"] == gap.reason
    assert list(CsvRecording(tmp_path).events(TAPE))[-1] == gap
    assert path.with_suffix(".json").read_text(encoding="utf-8").count("\n") > 10


def bring(folder: Path, text: str) -> CsvRecording:
    """Return a recording with a file of somebody else."""
    path = Path(write_csv(folder, TAPE, ()).location)
    path.write_text(text, encoding="utf-8")
    return CsvRecording(folder)


def test_few_columns_are_enough(tmp_path: Path) -> None:
    """Data from elsewhere needs a time, a kind and an outcome; each row is a message then."""
    recording = bring(
        tmp_path,
        "outcome,kind,received_ms,price,size,side,bids,asks,mine\n"
        f"Up,book,{START_MS},,,,0.40:5 0.39:7,.41:1,x\n"
        f"Up,change,{START_MS + 1},0.4,0,BUY,,,\n"
        f"Down,change,{START_MS + 1},0.60,2.5,SELL,,,\n"
        f"Up,trade,{START_MS + 2},0.41,,,,,\n",
    )
    one = Decimal(1)
    assert list(recording.events(TAPE)) == [
        Timed(
            START_MS,
            1,
            BookSnapshot(CONDITION, UP, ((4000, Decimal(5)), (3900, Decimal(7))), ((4100, one),)),
        ),
        Timed(START_MS + 1, 1, BookDelta(CONDITION, (LevelChange(UP, True, 4000, Decimal(0)),))),
        Timed(
            START_MS + 1, 1, BookDelta(CONDITION, (LevelChange(DOWN, False, 6000, Decimal("2.5")),))
        ),
        Timed(START_MS + 2, 1, TradePrint(CONDITION, UP, 4100, None, None)),
    ]
    assert recording.skipped == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("Up,change,noon,0.4,1,BUY,", "bad_row"),
        (f"Up,change,{START_MS},0.40001,1,BUY,", "bad_row"),
        (f"Up,change,{START_MS},1,1,BUY,", "bad_row"),
        (f"Up,change,{START_MS},0.4,0.0000001,BUY,", "bad_row"),
        (f"Up,change,{START_MS},0.4,-1,BUY,", "bad_row"),
        (f"Up,change,{START_MS},0.4,1,,", "bad_row"),
        (f"Flat,change,{START_MS},0.4,1,BUY,", "bad_row"),
        (f"Up,book,{START_MS},,,,0.4", "bad_row"),
        (f"Up,quote,{START_MS},,,,", "bad_row"),
        (f"Up,candle,{START_MS},,,,", "unknown_kind"),
    ],
)
def test_a_row_that_makes_no_sense_is_skipped(line: str, reason: str, tmp_path: Path) -> None:
    """A bad row is left out and counted, the rows around it are read."""
    good = f"Up,trade,{START_MS},0.41,,,"
    header = "outcome,kind,received_ms,price,size,side,bids"
    recording = bring(tmp_path, f"{header}\n{good}\n{line}\n{good}\n")
    assert len(list(recording.events(TAPE))) == 2
    assert recording.skipped == {reason: 1}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (f"No,change,{START_MS},0.4,1,BUY,", "line 3 is skipped: 'No' is unknown"),
        (f"Up,change,{START_MS},0.4,1,,", "line 3 is skipped: a value that this kind of row needs"),
        (f"Up,change,{START_MS},,1,BUY,", "line 3 is skipped: a value that this kind of row needs"),
        (f"Up,change,{START_MS},1,1,BUY,", "line 3 is skipped: price: expected 1 to 9999 units"),
        ("Up,change,1.79E+12,0.4,1,BUY,", "line 3 is skipped: invalid literal for int()"),
        (f"Up,change,{START_MS},0.4,1", "line 3 is skipped: a value that this kind of row needs"),
    ],
)
def test_the_first_bad_row_of_a_file_is_explained(
    line: str, why: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The log names line and reason of the first row that is skipped, once for a file."""
    good = f"Up,trade,{START_MS},0.41,,,"
    header = "outcome,kind,received_ms,price,size,side,bids"
    recording = bring(tmp_path, f"{header}\n{good}\n{line}\n{line}\n")
    assert len(list(recording.events(TAPE))) == 1
    assert recording.skipped == {"bad_row": 2}
    assert caplog.text.count("is skipped") == 1
    assert f"{MARKET.slug}.csv: {why}" in caplog.text


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "with a mark of the byte order"])
@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_what_a_spreadsheet_has_written_is_read(between: str, mark: str, tmp_path: Path) -> None:
    """Semicolons, tabs, commas as decimal points, and what Excel begins a file with change nothing."""
    gap = Gap(START_MS + 20, "gone, for a while")
    path = Path(write_csv(tmp_path, TAPE, [*EXAMPLES, gap]).location)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    if between != ",":
        rows = [[*(each.replace(".", ",") for each in row[:-1]), row[-1]] for row in rows]
    with path.open("w", newline="", encoding="utf-8") as file:
        file.write(mark)
        csv.writer(file, delimiter=between).writerows(rows)
    recording = CsvRecording(tmp_path)
    assert list(recording.events(TAPE)) == [*EXAMPLES, gap]
    assert recording.skipped == {}


def test_a_file_that_was_cut_off_tells_nothing_that_was_not_there(tmp_path: Path) -> None:
    """Wherever within a row a file ends, that row is left out: a half of a number is none."""
    path = Path(write_csv(tmp_path, TAPE, EXAMPLES).location)
    whole = path.read_bytes()
    begin = whole.index(b"\n", whole.rindex(b"trade")) + 1
    for end in range(begin, len(whole), 3):
        path.write_bytes(whole[:end])
        found = list(CsvRecording(tmp_path).events(TAPE))
        assert found == list(EXAMPLES[: len(found)])


def test_rows_may_leave_out_what_is_empty_at_their_end(tmp_path: Path) -> None:
    """Excel writes no delimiters for columns that are empty in a block of rows; only a cut row is none."""
    path = Path(write_csv(tmp_path, TAPE, EXAMPLES).location)
    lines = [line.rstrip(",") for line in path.read_text(encoding="utf-8").splitlines()]
    path.write_text("\r\n".join([*lines, ""]), encoding="utf-8", newline="")
    recording = CsvRecording(tmp_path)
    assert list(recording.events(TAPE)) == list(EXAMPLES)
    assert recording.skipped == {}


def test_a_file_that_cannot_be_read_on_ends_in_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong with the file is no bad row: it would go wrong for ever."""
    write_csv(tmp_path, TAPE, EXAMPLES)
    recording = CsvRecording(tmp_path)
    events, tries = recording.events(TAPE), iter(range(3))

    def fail(*_: object) -> None:
        next(tries)  # without end, but for who is wrong
        msg = "the connection is closed"
        raise ValueError(msg)

    monkeypatch.setattr(csv.DictReader, "__next__", fail)
    with pytest.raises(
        OSError, match=rf"{MARKET.slug}.csv cannot be read to its end: the connection"
    ):
        list(events)
    assert recording.skipped == {}


def test_what_is_no_text_costs_its_row(tmp_path: Path) -> None:
    """Bytes that are no UTF-8, and a field that no reader takes, cost their rows and no others."""
    good = f"Up,trade,{START_MS},0.41,"
    path = Path(write_csv(tmp_path, TAPE, ()).location)
    lines = [
        "outcome,kind,received_ms,price,bids",
        good,
        f"Up,book,{START_MS},," + "0.4:1 " * 30_000,
    ]
    text = "\n".join([*lines, good, f"\xdcp,trade,{START_MS},0.41,", good, ""])
    path.write_bytes(text.encode("latin-1"))
    recording = CsvRecording(tmp_path)
    assert len(list(recording.events(TAPE))) == 3
    assert recording.skipped == {"bad_row": 2}


def test_a_market_that_is_there_twice_is_read_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of two files with one market the first is taken, the other one counted and named."""
    write_csv(tmp_path / "a", TAPE, EXAMPLES)
    write_csv(tmp_path / "b", TAPE, ())
    recording = CsvRecording(tmp_path)
    assert recording.markets() == [TAPE]
    assert list(recording.events(TAPE)) == list(EXAMPLES)
    assert recording.skipped == {"duplicate": 1}
    assert f"b/btc-updown-15m/{MARKET.slug}.csv: skipped, a/btc-updown-15m/" in caplog.text


def test_files_may_be_at_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written to a URL is read from there, and travels as that URL; nothing is on the disk."""
    monkeypatch.chdir(tmp_path)
    url = "memory://csv files/märkte"
    written = write_csv(url, TAPE, EXAMPLES)
    assert written.location == f"{url}/btc-updown-15m/{MARKET.slug}.csv"
    recording = pickle.loads(pickle.dumps(CsvRecording(url)))
    assert recording.markets() == [TAPE]
    assert list(recording.events(TAPE)) == list(EXAMPLES)
    identity = recording.identity(TAPE)
    write_csv(url, TAPE, ())
    assert recording.identity(TAPE) != identity
    assert list(tmp_path.iterdir()) == []


def test_what_looks_wrong_is_told(tmp_path: Path) -> None:
    """Times that go back and crossed books are passed on and counted."""
    recording = bring(
        tmp_path,
        "outcome,kind,received_ms,bids,asks\n"
        f"Up,book,{START_MS + 1},0.4:1,0.4:1\nUp,book,{START_MS},,\n",
    )
    assert [event.received_ms for event in recording.events(TAPE)] == [START_MS + 1] * 2
    assert recording.doubtful == {"crossed": 1, "time_went_back": 1}


def test_files_of_another_kind_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Files without the needed columns, or without their market, are skipped and named."""
    write_csv(tmp_path, make_tape(2), ())
    write_csv(tmp_path, TAPE, ())
    (tmp_path / "prices.csv").write_text("time,bid,ask\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "alone.csv").write_text("received_ms,kind,outcome\n")
    recording = CsvRecording(tmp_path)
    assert recording.markets() == [TAPE, make_tape(2)]
    assert recording.skipped == {"unreadable": 3}
    assert "prices.csv: skipped, no recording: expected a column kind" in caplog.text
    with pytest.raises(KeyError):
        recording.events(make_tape(1))
    with pytest.raises(ConfigError, match=r"folder: .*missing is no folder"):
        CsvRecording(tmp_path / "missing")
