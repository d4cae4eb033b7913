"""Where a command writes to, tried before it begins: not after an hour that is lost then."""

from __future__ import annotations

import os
from pathlib import Path

from polyframe.errors import ConfigError
from polyframe.paths import local_path
from polyframe.report.html import load_plotly


def check_folder(name: str, path: Path | None) -> None:
    """Make the folder of an option, so that it is known early whether files can go there.

    Raises:
        ConfigError: It cannot be made or written to; the option `name` is named.
    """
    if path is None:
        return
    local_path(name, path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        exists = isinstance(error, FileExistsError)
        why = "it is a file" if exists else error.strerror or str(error)
        raise _refusal(name, path, why) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise _refusal(name, path, "no permission")


def check_file(name: str, path: Path | None) -> None:
    """Make the folder of an option's file; the file itself is not touched.

    Raises:
        ConfigError: It is a folder, or cannot be written; the option `name` is named.
    """
    if path is None:
        return
    if path.is_dir():
        raise _refusal(name, path, "it is a folder")
    check_folder(name, path.parent)
    if path.exists() and not os.access(path, os.W_OK):
        raise _refusal(name, path, "no permission")


def check_page(name: str, path: Path | None) -> None:
    """As `check_file`, and what a page is made with is there.

    Raises:
        ConfigError: It cannot be written, or the extra ``report`` is not installed.
    """
    check_file(name, path)
    if path is not None:
        load_plotly()


def _refusal(name: str, path: Path, why: str) -> ConfigError:
    return ConfigError(f"{name}: {path} cannot be written ({why}); name another place")
