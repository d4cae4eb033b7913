"""Where finished files are kept: a folder, or anything that fsspec has a URL for.

A file appears when it is complete, in place of an earlier one of its name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from attrs import field, frozen

from polyframe.checks import expect_path
from polyframe.errors import ConfigError
from polyframe.paths import local_path

_PART = ".part"


@frozen
class Written:
    """What became of a file.

    Attributes:
        location: Path or URL.
        events: How many events it has.
        skipped: Events that could not be written, by reason: ``foreign`` (of another market or
            token), ``out_of_range`` (a size that no column holds).
    """

    location: str
    events: int
    skipped: Mapping[str, int] = field(factory=dict)


class Shelf(Protocol):
    """Keeps files by name, ``series/file``."""

    def location(self, name: str) -> str:
        """Return the path or URL of a file."""
        ...

    def exists(self, name: str) -> bool:
        """Return whether there is such a file."""
        ...

    def names(self, suffix: str) -> list[str]:
        """Return the names of all files with this suffix, at any depth, sorted."""
        ...

    def stamp(self, name: str) -> str:
        """Return what changes when a file is replaced: its size, and when that was.

        Raises:
            FileNotFoundError: There is none of that name.
        """
        ...

    def reading(self, name: str) -> AbstractContextManager[Any]:
        """Give what pyarrow can read the file from.

        Raises:
            FileNotFoundError: There is none of that name.
        """
        ...

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open the file to read its bytes.

        Raises:
            FileNotFoundError: There is none of that name.
        """
        ...

    def replacing(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """Open a file that takes the place of `name` when all went well.

        Raises:
            OSError: The disk is full, or the folder cannot be written; the file is as it was.
        """
        ...


def open_shelf(root: str | Path, *, must_exist: bool = False) -> Shelf:
    """Return the shelf at a path, or at a URL such as ``s3://bucket/recordings``.

    Raises:
        ConfigError: It does not exist although it must, fsspec is not installed, it has no such
            kind of URL, or the URL is a path, which has lost a part of it.
    """
    expect_path("folder", root)
    if isinstance(root, str) and "://" in root:
        return _RemoteShelf(root)
    folder = Path(root)
    if not must_exist:
        local_path("folder", root, "give it as a text, not as a Path")
    elif not folder.is_dir():
        msg = f"folder: {folder} is no folder; name the one that recordings are in"
        raise ConfigError(msg)
    return _FolderShelf(folder)


def found_anywhere(root: str) -> str:
    """Return a path, or a URL, as it holds in a process of this machine that works in another folder."""
    return root if "://" in root else str(Path(root).resolve())


class _FolderShelf:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def location(self, name: str) -> str:
        return str(self._folder / name)

    def exists(self, name: str) -> bool:
        return (self._folder / name).exists()

    def names(self, suffix: str) -> list[str]:
        found = (path for path in self._folder.rglob(f"*{suffix}") if not path.name.startswith("."))
        return sorted(path.relative_to(self._folder).as_posix() for path in found)

    def stamp(self, name: str) -> str:
        return file_stamp(self._folder / name)

    @contextmanager
    def reading(self, name: str) -> Iterator[Any]:
        yield self._folder / name  # pyarrow reads paths faster than files of Python

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        return (self._folder / name).open("rb")

    @contextmanager
    def replacing(self, name: str) -> Iterator[IO[bytes]]:
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            yield file


class _RemoteShelf:
    def __init__(self, url: str) -> None:
        try:
            import fsspec
        except ModuleNotFoundError as error:
            msg = (
                f"folder: {url} needs the package fsspec and what it needs for such a URL; "
                "install it with: pip install '.[remote]' in the checkout of polyframe"
            )
            raise ConfigError(msg) from error
        try:
            self._system, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            msg = f"folder: {url} cannot be used: {error}"
            raise ConfigError(msg) from error
        self._url = url.rstrip("/")
        self._root = root.rstrip("/")

    def location(self, name: str) -> str:
        return f"{self._url}/{name}"

    def exists(self, name: str) -> bool:
        return bool(self._system.exists(self._path(name)))

    def names(self, suffix: str) -> list[str]:
        self._system.invalidate_cache()  # others write there too
        found = (str(path) for path in self._system.find(self._root) if path.endswith(suffix))
        names = (path.removeprefix(f"{self._root}/") for path in found)
        return sorted(name for name in names if not name.rpartition("/")[2].startswith("."))

    def stamp(self, name: str) -> str:
        facts = self._system.info(self._path(name))
        # Each kind of URL has its own words for when a file was written.
        told = [str(facts[word]) for word in _WRITTEN if facts.get(word) is not None]
        return " ".join([str(facts.get("size")), *told])

    def reading(self, name: str) -> AbstractContextManager[Any]:
        return self.opened(name)

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        with self._system.open(self._path(name), "rb") as file:
            yield file

    @contextmanager
    def replacing(self, name: str) -> Iterator[IO[bytes]]:
        folder, _, file_name = name.rpartition("/")
        part = self._path(f"{folder}/.{file_name}{_PART}")
        self._system.makedirs(self._path(folder), exist_ok=True)
        try:
            with self._system.open(part, "wb") as file:
                yield file
            self._system.mv(part, self._path(name))
        except BaseException:
            with suppress(OSError):  # what went wrong is raised; the next attempt replaces the rest
                self._system.rm_file(part)
            raise

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


_WRITTEN = ("ETag", "etag", "LastModified", "last_modified", "updated", "mtime", "created")


def file_stamp(path: Path) -> str:
    """Return what changes when a file is replaced: its size, and when that was.

    Raises:
        OSError: It does not exist, or cannot be looked at.
    """
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns}"


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when all went well.

    Raises:
        OSError: The disk is full, or the folder cannot be written; `path` is as it was.
    """
    part = path.with_name(f".{path.name}{_PART}")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        with suppress(OSError):  # what went wrong is raised; the next attempt replaces the rest
            part.unlink(missing_ok=True)
        raise
