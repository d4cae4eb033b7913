"""``polyframe new``: a project that runs and is tested as it is made."""

from __future__ import annotations

import importlib.resources
import keyword
import re
import shlex
import sys
from pathlib import Path
from string import Template
from typing import Final

from attrs import field, frozen

import polyframe
from polyframe.cli.outputs import check_folder
from polyframe.errors import ConfigError

_TEMPLATES: Final = {
    "README.md": "readme.txt",
    "pyproject.toml": "pyproject.txt",
    ".gitignore": "gitignore.txt",
    "settings.toml": "toml.txt",
    "src/{package}/__init__.py": "init.txt",
    "src/{package}/__main__.py": "module.txt",
    "src/{package}/main.py": "main.txt",
    "src/{package}/settings.py": "settings.txt",
    "src/{package}/strategy.py": "strategy.txt",
    "tests/test_strategy.py": "test.txt",
}
"""Where each file goes, and its template beside this module."""

_USED: Final = frozenset(
    {"polyframe", "tests", "test", "src", "data", "attr", "attrs", "pytest", "main"}
    | {"msgspec", "httpx", "websockets", "typer", "rich", "starlette", "uvicorn", "pyarrow"}
)
"""Names that a project of its own would hide, or that would hide it."""

_CLASSES: Final = frozenset(
    {*polyframe.__all__, "Any", "Decimal", "Fault", "Path", "Settings", "T"}
)
"""Names that the project's modules import: its strategy class needs another one."""

_NAME: Final = re.compile(r"[a-z][a-z0-9]*(?:[-_][a-z0-9]+)*")


@frozen
class NewProject:
    """A project that is to be made.

    Attributes:
        name: Its name: small letters and digits, with hyphens or underscores between them.
        folder: Where it goes, by default a new folder of that name.

    Raises:
        ConfigError: A name that cannot be that of a Python package, or that is taken.
    """

    name: str = field()
    folder: Path

    @name.validator
    def _check_name(self, _: object, name: str) -> None:
        if not _NAME.fullmatch(name):
            msg = (
                "name: expected small letters and digits, with hyphens or underscores between them, "
                f"beginning with a letter, got {name!r}"
            )
            raise ConfigError(msg)
        package = self.package
        if keyword.iskeyword(package) or package in sys.stdlib_module_names or package in _USED:
            msg = (
                f"name: a package {package} would hide another one of that name; choose a new name"
            )
            raise ConfigError(msg)
        if self.strategy in _CLASSES:
            msg = f"name: its strategy would be called {self.strategy}, as something of polyframe's is"
            raise ConfigError(msg)

    @property
    def package(self) -> str:
        """Name of its Python package."""
        return self.name.replace("-", "_")

    @property
    def strategy(self) -> str:
        """Name of its strategy class."""
        return "".join(part.capitalize() for part in self.package.split("_"))

    def files(self) -> dict[Path, str]:
        """Return the text of each file by its path in the folder."""
        home = importlib.resources.files("polyframe.cli.project")
        names = {"name": self.name, "package": self.package, "strategy": self.strategy}
        return {
            Path(place.format(package=self.package)): Template(
                home.joinpath(source).read_text(encoding="utf-8")
            ).substitute(names)
            for place, source in _TEMPLATES.items()
        }

    def write(self) -> list[Path]:
        """Write all files and return their paths.

        Raises:
            ConfigError: The folder is there and not empty, or cannot be made; nothing is written.
            OSError: The disk does not take it.
        """
        folder = self.folder
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            msg = f"folder: {folder} is there and not empty; name another one, or empty it"
            raise ConfigError(msg)
        check_folder("folder", folder)
        written = []
        for place, text in self.files().items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(path)
        return written

    def next_steps(self) -> str:
        """Return what to do now."""
        width = max(len(f"python -m {self.package} --local"), len("pip install -e '.[dev]'")) + 2
        steps = (
            (f"cd {shlex.quote(str(self.folder))}", ""),
            ("pip install -e '.[dev]'", "in an environment that has polyframe"),
            ("pytest", "the strategy on a simulated venue"),
            (f"python -m {self.package} --local", "made-up markets on this machine"),
            (f"python -m {self.package}", "paper: real markets, no real money"),
        )
        lines = "\n".join(f"  {command:{width}}{what}".rstrip() for command, what in steps)
        return f"""\
{self.folder} is a project now. Next:

{lines}

The strategy is in src/{self.package}/strategy.py, what it runs with in settings.toml.
"""
