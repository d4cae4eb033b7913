"""What is installed, and how it is built and checked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from hatchling.build import build_wheel

import polyframe
from polyframe import errors

ROOT = Path(__file__).parent.parent


def test_version() -> None:
    """The package and its metadata name the same version."""
    assert metadata.version("polyframe") == polyframe.__version__


def test_public_names() -> None:
    """Every name that the package offers exists."""
    assert [name for name in polyframe.__all__ if not hasattr(polyframe, name)] == []
    assert len(set(polyframe.__all__)) == len(polyframe.__all__)


def test_extras_are_optional() -> None:
    """The package and all its names can be imported without what only its extras need."""
    extras = ["rich", "starlette", "typer", "uvicorn", "pyarrow", "resolvedkit"]
    extras += ["cloudpickle", "distributed", "optuna", "pandas", "polars"]
    extras += ["coincurve", "eth_account", "eth_hash", "eth_keys", "eth_utils"]
    code = f"import sys; sys.modules.update(dict.fromkeys({extras})); from polyframe import *"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT)


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Build a wheel and return the names of its files."""
    folder = tmp_path_factory.mktemp("wheel")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        wheel = folder / build_wheel(str(folder))
    with zipfile.ZipFile(wheel) as archive:
        assert archive.testzip() is None
        return archive.namelist()


class TestWheel:
    def test_has_every_module(self, names: list[str]) -> None:
        """Every module and the mark of a typed package are in the wheel."""
        modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("polyframe/**/*.py")}
        assert modules <= set(names)
        assert "polyframe/py.typed" in names
        assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)

    def test_has_nothing_else(self, names: list[str]) -> None:
        """Neither tests nor anything beside the package is in the wheel."""
        folder = f"polyframe-{polyframe.__version__}.dist-info/"
        assert [name for name in names if not name.startswith(("polyframe/", folder))] == []
        parts = {part for name in names for part in name.split("/")}
        assert [part for part in parts if part == "tests" or part.startswith("test_")] == []
        assert "__pycache__" not in parts


def test_tree_of_errors() -> None:
    """The tree in the documentation of the errors is the tree of the classes."""
    written: dict[str, str | None] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := re.match(r"    ((?:│   |    |├── |└── )*)([A-Z]\w+)", line):
            depth = len(match[1]) // 4
            path[depth:] = [match[2]]
            written[match[2]] = path[depth - 1] if depth else None
    classes = {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    tree = {
        name: next((base.__name__ for base in cls.__mro__[1:] if base in classes.values()), None)
        for name, cls in classes.items()
    }
    assert written == tree
    assert tree["OrderDenied"] == "OrderError"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
class TestMakefile:
    def make(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run make in the root of the repository, as if no other make had started the tests."""
        inherited = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "PYTHON")
        return subprocess.run(
            ["make", "--no-print-directory", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            check=False,
            env={key: value for key, value in os.environ.items() if key not in inherited},
        )

    def python(self, folder: Path, fails_at: str) -> str:
        """Return a stand-in for Python that fails at code with `fails_at` in it."""
        script = folder / "python"
        script.write_text(
            f'#!/bin/sh\ncase "$2" in *{fails_at}*) exit 1;; esac\necho "Python 3.9.2"\n'
        )
        script.chmod(0o755)
        return f"PYTHON={script}"

    def test_help_is_the_default(self) -> None:
        """Plain make says what there is and does nothing."""
        done = self.make()
        assert done.returncode == 0
        assert done.stdout == self.make("help").stdout
        for target in ("help", "test", "demo", "clean"):
            assert re.search(rf"^  {target} +\w", done.stdout, re.MULTILINE)

    def test_python_is_missing(self) -> None:
        """A Python that does not exist is named, with what to say instead."""
        done = self.make("check-python", "PYTHON=no-such-python")
        assert done.returncode != 0
        assert "no-such-python was not found" in done.stderr

    def test_python_is_too_old(self, tmp_path: Path) -> None:
        """A Python that is too old is named with its version and what is needed."""
        done = self.make("check-python", self.python(tmp_path, "version_info"))
        assert done.returncode != 0
        assert "is Python 3.9.2; 3.11 or later is needed" in done.stderr

    def test_venv_is_missing(self, tmp_path: Path) -> None:
        """A Python without virtual environments leads to the package that has them."""
        done = self.make("check-python", self.python(tmp_path, "ensurepip"))
        assert done.returncode != 0
        assert "apt install python3-venv" in done.stderr

    def test_good_python(self) -> None:
        """The Python that runs these tests will do."""
        assert self.make("check-python", f"PYTHON={sys.executable}").returncode == 0


def test_the_venue_names_the_extra_that_it_needs() -> None:
    """Without the packages of the extra, importing the venue says how to get them."""
    code = (
        "import sys; sys.modules['starlette'] = None\n"
        "try:\n    import polyframe.venue\n"
        "except ModuleNotFoundError as error:\n    print(error.name, error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.startswith("starlette polyframe.venue needs starlette")
    assert "pip install '.[venue]'" in done.stdout
