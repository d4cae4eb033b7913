"""Where snapshots are kept: a folder that one process uses, whose files are whole or not there."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from polyframe.errors import ConfigError
from polyframe.trading import snapshotstore
from polyframe.trading.snapshotstore import FolderStore, MemoryStore, Store

KEY, OTHER = "btc-updown-15m/one@1.snapshot", "btc-updown-15m/one@1.sent"


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """Yield an open store of each kind."""
    made: Store = FolderStore(tmp_path / "kept") if request.param == "folder" else MemoryStore()
    made.open()
    yield made
    made.close()


def test_files_are_written_read_and_removed(store: Store) -> None:
    """A write replaces, an append adds, and both show up under their keys."""
    assert store.keys() == []
    store.write(KEY, b"first")
    store.write(KEY, b"second")
    store.append(OTHER, b"a")
    store.append(OTHER, b"b")
    assert [OTHER, KEY] == store.keys()
    assert b"second" == store.read(KEY)
    assert b"ab" == store.read(OTHER)
    store.remove(KEY)
    store.remove(KEY)
    store.remove(OTHER)
    assert store.keys() == []
    with pytest.raises(FileNotFoundError):
        store.read(KEY)
    store.append(OTHER, b"c")
    assert b"c" == store.read(OTHER)


def test_what_is_set_aside_is_out_of_use_and_not_lost(store: Store, tmp_path: Path) -> None:
    """Also twice of the same name."""
    for data in (b"one", b"two"):
        store.write(KEY, data)
        where = store.set_aside(KEY)
        assert "one@1.snapshot" in where
        assert store.keys() == []
    if isinstance(store, FolderStore):
        kept = sorted(path.read_bytes() for path in (tmp_path / "kept").glob("*/*_refused*"))
        assert [b"one", b"two"] == kept


@pytest.mark.parametrize("key", ["one", "../one", "a/b/c", "A/b", "a/.b", "a/b_c", "a/"])
def test_a_key_cannot_leave_the_store(store: Store, key: str) -> None:
    """Keys have two parts of harmless letters."""
    with pytest.raises(ValueError, match="key"):
        store.write(key, b"")
    with pytest.raises(ValueError, match="key"):
        store.append(key, b"")


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle: the file is as it was, and the rest of the new one no file."""
    store = FolderStore(tmp_path / "kept")
    store.open()
    store.write(KEY, b"old")

    def full(_: int) -> None:
        raise OSError(28, "disk full")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        store.write(KEY, b"new")
    assert b"old" == store.read(KEY)
    assert [KEY] == store.keys()
    store.close()


def test_a_folder_belongs_to_one_environment(tmp_path: Path) -> None:
    """A second one is refused, with what to do, until the first is closed."""
    first, second = FolderStore(tmp_path / "kept"), FolderStore(tmp_path / "kept")
    first.open()
    with pytest.raises(ConfigError, match=r"in use by another environment.*a folder of its own"):
        second.open()
    first.close()
    second.open()
    second.close()


def test_a_drive_without_locks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else is to be looked for then."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(snapshotstore, "lock_file", refuse)
    with pytest.raises(ConfigError, match=r"cannot be locked .*no locks.* a local disk"):
        FolderStore(tmp_path / "kept").open()


def test_the_end_of_a_process_unlocks_its_folder(tmp_path: Path) -> None:
    """Killed in the worst way, it leaves no lock behind."""
    code = (
        "import os, signal; from polyframe.trading.snapshotstore import FolderStore; "
        f"s = FolderStore({str(tmp_path / 'kept')!r}); s.open(); s.append({OTHER!r}, b'x'); "
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    store = FolderStore(tmp_path / "kept")
    store.open()
    assert b"x" == store.read(OTHER)
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.parametrize("end", ["s.close()", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_worker_that_was_forked_keeps_no_lock(tmp_path: Path, end: str) -> None:
    """However the program ends, its folder is free, whatever processes it has left behind."""
    code = (
        "import os, signal, sys; from polyframe.trading.snapshotstore import FolderStore; "
        f"s = FolderStore({str(tmp_path / 'kept')!r}); s.open(); there, here = os.pipe()\n"
        "if not os.fork(): os.write(here, b'.'); sys.stdin.read(); os._exit(0)\n"
        f"os.read(there, 1); {end}; print('ended', flush=True); sys.stdin.read()"
    )
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe) as program:
        assert program.stdout is not None
        assert program.stdin is not None
        if "kill" in end:
            program.wait(30)
        else:
            assert b"ended" in program.stdout.readline()
        store = FolderStore(tmp_path / "kept")
        store.open()
        store.close()
        program.stdin.close()  # with which the worker ends


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    """A file, or a folder in no folder, is an error before anything is opened."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="is a file; name a folder"):
        FolderStore(tmp_path / "file")
    with pytest.raises(ConfigError, match="does not exist; make it first"):
        FolderStore(tmp_path / "no" / "kept")


def test_what_was_written_in_part_goes_with_the_next_start(tmp_path: Path) -> None:
    """The rest of a write that was cut off does not stay for ever."""
    part = tmp_path / "btc-updown-15m" / "one@1.snapshot.part"
    part.parent.mkdir()
    part.write_bytes(b"half")
    store = FolderStore(tmp_path)
    store.open()
    assert not part.exists()
    store.close()


def test_a_drive_that_cannot_sync_folders_keeps_files_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Network drives refuse it; any other failure is one."""
    sync, refusal = os.fsync, errno.EINVAL

    def fsync(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(refusal, "not for folders")
        sync(handle)

    store = FolderStore(tmp_path)
    store.open()
    monkeypatch.setattr(os, "fsync", fsync)
    store.write(KEY, b"kept")
    assert b"kept" == store.read(KEY)
    refusal = errno.EIO
    with pytest.raises(OSError, match="not for folders"):
        store.write(KEY, b"lost")
    store.close()


def test_files_of_other_names_are_left_alone(tmp_path: Path) -> None:
    """What is not ours, or half written, has no key."""
    store = FolderStore(tmp_path)
    store.open()
    store.write(KEY, b"ours")
    folder = tmp_path / "btc-updown-15m"
    (folder / "one@1.snapshot.part").write_bytes(b"half")
    (folder / "Notes.txt").write_bytes(b"mine")
    assert [KEY] == store.keys()
    store.close()
