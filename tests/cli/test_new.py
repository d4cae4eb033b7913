"""``polyframe new``: what it makes works, and what it cannot make is refused."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from polyframe.cli.new import NewProject
from polyframe.errors import ConfigError
from tests.cli.command import ROOT
from tests.docs.programs import CLEAN, Done, run

RULES = "ANN,ASYNC,B,C4,DTZ,E,F,I,N,PT,PTH,RUF,SIM,UP,W"


def new(folder: Path, *arguments: str) -> Done:
    """Run ``polyframe new`` in `folder`."""
    return run(["-m", "polyframe", "new", *arguments], folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one project; the tests look at it and run it."""
    folder = tmp_path_factory.mktemp("new")
    done = new(folder, "my-bot")
    assert (done.returncode, done.stderr) == (0, "")
    assert "cd my-bot" in done.stdout
    assert "python -m my_bot --local" in done.stdout
    return folder / "my-bot"


def test_its_own_test_passes_as_it_is_made(project: Path) -> None:
    """Nothing has to be changed first, and nothing needs a network."""
    done = run(["-m", "pytest", "-q", "-p", "no:cacheprovider"], project)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "17 passed" in done.stdout


def test_its_own_test_passes_without_what_real_money_needs(project: Path, tmp_path: Path) -> None:
    """The test that signs is passed over where the extra is missing; it is not a failure."""
    gone = 'import sys\nsys.modules |= {"coincurve": None, "eth_account": None}\n'
    (tmp_path / "unsigned.py").write_text(gone, encoding="utf-8")
    arguments = ["-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    places = [tmp_path] if CLEAN else [tmp_path, ROOT]
    done = run(
        [*arguments, "-p", "unsigned", "-k", "real_money"],
        project,
        PYTHONPATH=os.pathsep.join(map(str, places)),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed, 1 skipped" in done.stdout
    assert "polyframe[live]" in done.stdout


def test_its_own_test_passes_beside_pytest_asyncio(project: Path, tmp_path: Path) -> None:
    """That plugin warns when it is configured, which is an error in the project: it is left out."""
    plugin = (
        "import warnings\n\ndef pytest_configure(config):\n    warnings.warn('no scope is set')\n"
    )
    (tmp_path / "noisy_asyncio.py").write_text(plugin, encoding="utf-8")
    installed = tmp_path / "noisy_asyncio-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Name: noisy-asyncio\nVersion: 1.0\n", encoding="utf-8")
    (installed / "entry_points.txt").write_text("[pytest11]\nasyncio = noisy_asyncio\n")
    places = os.pathsep.join(map(str, [tmp_path] if CLEAN else [tmp_path, ROOT]))
    arguments = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "settings_are_read"]
    done = run(arguments, project, PYTHONPATH=places)
    assert done.returncode == 0, done.stdout + done.stderr
    # Without the line it would be one.
    bare_ini = tmp_path / "bare.ini"
    bare_ini.write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    bare = run([*arguments, "-c", str(bare_ini), "--rootdir", "."], project, PYTHONPATH=places)
    assert "no scope is set" in bare.stdout + bare.stderr


def test_it_trades_at_the_local_venue(project: Path) -> None:
    """The program runs as the next steps say, and keeps a ledger that can be read."""
    arguments = ["-m", "my_bot", "--local", "--cycles", "1", "--speed", "300"]
    places = [project / "src"] if CLEAN else [project / "src", ROOT]
    done = run(arguments, project, PYTHONPATH=os.pathsep.join(map(str, places)))
    assert done.returncode == 0, done.stderr
    assert "btc-updown-15m-" in done.stdout
    assert "Traceback" not in done.stderr
    read = run(["-m", "polyframe", "report", "data/local.sqlite"], project)
    assert read.returncode == 0, read.stderr


ELSEWHERE = """
import asyncio, os, pathlib, secrets
from attrs import evolve
from my_bot import main as program
from my_bot.settings import load
from polyframe import PolymarketExchange, PolymarketHosts, ScaledClock
from polyframe.venue import LocalVenue, SyntheticSource

START = 1_893_456_000
derive = program.create_or_derive_credentials
os.environ["POLYMARKET_PRIVATE_KEY"] = secrets.token_hex(32)


async def play(mode, speed=100):
    clock = ScaledClock(speed, start=START)
    async with LocalVenue(SyntheticSource("btc-updown-5m", seed=7), clock=clock) as venue:
        hosts = PolymarketHosts.local(venue.url)

        def exchange(credentials=None, signer=None, confirm_live=""):
            return PolymarketExchange(hosts, credentials, signer, confirm_live=confirm_live)

        program.PolymarketExchange, program.WallClock = exchange, lambda: clock
        program.create_or_derive_credentials = lambda s: derive(s, host=hosts.clob, clock=clock)
        settings = load(pathlib.Path("settings.toml"))
        settings = evolve(settings, mode=mode, series=("btc-updown-5m",))
        if mode == "paper":
            await program.go_paper(settings, 1)
        else:
            signer = program.WalletSigner.from_env()
            await program.go_live(settings, 1, f"real money of {signer.maker}")
        print(mode, "sent", venue.stats.orders + venue.stats.refused > 0)


asyncio.run(play("paper"))
asyncio.run(play("live"))
"""
"""The program's own functions for real markets, with a venue on this machine in their place."""


def test_its_modes_for_real_markets_trade_too(tmp_path: Path) -> None:
    """On paper it sends the venue no order; with a wallet and the sentence its orders are signed.

    A project of its own, in which nothing was run before.
    """
    project = tmp_path / "my-bot"
    NewProject("my-bot", project).write()
    places = [project / "src"] if CLEAN else [project / "src", ROOT]
    done = run(["-c", ELSEWHERE], project, PYTHONPATH=os.pathsep.join(map(str, places)))
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(
        r"btc-updown-5m-\d+: \d orders, \d fills, .+\npaper sent False\n"
        r"btc-updown-5m-\d+: \d orders, \d fills, .+\nlive sent (?:True|False)\n",
        done.stdout,
    ), done.stdout
    assert (project / "data" / "paper.sqlite").exists()
    assert (project / "data" / "account").is_dir()


@pytest.mark.skipif(bool(CLEAN), reason="linters are not part of the clean environment")
@pytest.mark.parametrize(
    "arguments",
    [
        ["ruff", "check", "--isolated", "--line-length", "100", "--select", RULES],
        ["ruff", "format", "--isolated", "--line-length", "100", "--check"],
    ],
    ids=["rules", "format"],
)
def test_linters_agree_with_it(arguments: list[str], project: Path) -> None:
    """What people copy from is formatted, annotated and without loose ends."""
    done = subprocess.run(
        [sys.executable, "-m", *arguments, "."],
        capture_output=True,
        text=True,
        cwd=project,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_its_files_say_how_polyframe_is_installed(project: Path) -> None:
    """The name on the index is another project's: nothing asks the index for it."""
    with (project / "pyproject.toml").open("rb") as file:
        facts = tomllib.load(file)["project"]
    wanted = [*facts["dependencies"], *facts["optional-dependencies"]["dev"]]
    assert not [text for text in wanted if text.startswith("polyframe")]
    assert "belongs to another project" in (project / "README.md").read_text(encoding="utf-8")
    ignored = (project / ".gitignore").read_text(encoding="utf-8").split()
    assert {"data/", ".env", "*.key"} <= set(ignored)


@pytest.mark.parametrize(
    "name",
    ["", "My-Bot", "1bot", "my bot", "../up", "a--b", "class", "asyncio", "polyframe", "strategy"],
)
def test_a_name_that_cannot_be_is_refused(name: str, tmp_path: Path) -> None:
    """It would be no package, hide one, or clash with what the modules import."""
    with pytest.raises(ConfigError, match="name: "):
        NewProject(name, tmp_path / "new")


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """It is refused with code 2, and holds what it held; an empty one is taken."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "mine.txt").write_text("mine", encoding="utf-8")
    done = new(tmp_path, "taken")
    assert (done.returncode, done.stdout) == (2, "")
    assert "not empty" in done.stderr
    assert ["mine.txt"] == [path.name for path in (tmp_path / "taken").iterdir()]
    empty = tmp_path / "empty"
    empty.mkdir()
    assert len(NewProject("fading", empty).write()) == 10


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    """It is not written over."""
    place = tmp_path / "file"
    place.write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match="folder: "):
        NewProject("fading", place).write()
    assert "mine" == place.read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    """The error names the option."""
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"^folder: .* cannot be written \("):
        NewProject("fading", tmp_path / "file" / "x").write()


@pytest.mark.parametrize("name", ["a", "fading", "a-rather-long-name"])
def test_the_next_steps_stand_in_columns(name: str) -> None:
    """What each command does begins in one column, and a folder with a space can be pasted."""
    told = NewProject(name, Path("my bots") / name).next_steps()
    assert f"cd 'my bots/{name}'" in told
    steps = [line for line in told.splitlines() if line.startswith(("  p", "  pip"))]
    assert len({len(line) - len(line.split("  ")[-1].lstrip()) for line in steps}) == 1
