"""Paths that are to be written to, and what is none."""

from __future__ import annotations

import re
from pathlib import Path

from polyframe.errors import ConfigError

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:")


def local_path(name: str, path: str | Path, advice: str = "name a path of this machine") -> Path:
    """Return a path that is to be written to.

    Raises:
        ConfigError: It is a URL, which would become a folder of that name here.
    """
    found = Path(path)
    # A path has lost one of the two slashes; one letter is a drive of Windows.
    if found.parts and _SCHEME.fullmatch(found.parts[0]):
        msg = f"{name}: {path} is a URL, and cannot be written to; {advice}"
        raise ConfigError(msg)
    return found
