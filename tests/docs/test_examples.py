"""Every example is a program that runs, and prints what it promises."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from tests.cli.command import ROOT
from tests.docs.programs import LATE, Done, run, side_by_side

FOLDER = ROOT / "examples"
EXAMPLES = sorted(path.stem for path in FOLDER.glob("*.py"))
INDEX = FOLDER / "README.md"

FIVE, FIFTEEN = r"btc-updown-5m-\d+", r"btc-updown-15m-\d+"
USD = r"-?\d+(?:\.\d+)?"
PROFIT = r"profit [+-]\d+\.\d\d USD\n"
STATE = rf'{{"market": "{FIFTEEN}", "cash": "1000.0+", "open orders": [01], "risk": "active"}}\n'

EXPECTED = {
    "clean_start": rf"{FIFTEEN}: found 2 orders, cancelled 2\nleft: 0\n",
    "embedding": rf"(?:{STATE}){{3}}{FIFTEEN} ends \(shutdown\): [01] orders cancelled\n",
    "first_strategy": rf"(?s).*(?:{FIVE}: (?:Up|Down) won, {PROFIT}){{2}}"
    r"all cycles: [+-]\d+\.\d\d USD\n",
    "four_series": rf"(?:(?:btc|eth|sol|xrp)-updown-5m-\d+: \d+ fills, {PROFIT}){{4}}"
    r"cash: \d+\.\d\d USD\n",
    "limits_and_halt": r"halted: halted\n"
    rf"{FIVE}: bought for [\d.]+ USD; refused by: .*risk_halted.*\n",
    "momentum": rf"(?:{FIVE}: \d+ fills, {PROFIT}){{2}}",
    "notifications": rf"(?s).*hook: {{.text.:.{FIVE}: \d+ fills, profit [+-]\d+\.\d\d USD.}}\n",
    "own_feed": rf"the feed opens\n(?:{FIVE}: began at \d+, went as far as \d+ USD away\n){{2}}"
    r"the feed is closed\n",
    "record_and_replay": rf"(?:recorded {FIVE}: \d{{3,}} rows, (?:Up|Down) won\n){{2}}"
    rf"replayed 2 cycles, \d trades\nprofit: {USD}\n",
    "restart": r"goes on: False, bids so far: 0, open orders: 0\n"
    r"goes on: True, bids so far: 1, open orders: 1\n",
    "several_strategies": rf"(?:{FIVE}: the onlooker was told of 0, sees 0 orders\n){{2}}"
    rf"(?:{FIVE}: fills of up \d+, of down \d+\n){{2}}all together: [+-]\d+\.\d\d USD\n",
    "sweep_dask": rf"CheapSide: 4 variants on 2 markets\n(?:profit {USD}, .*\n){{4}}"
    r"4 variants were tried(?s:.*)",
}
"""What an example prints, from its first line to its last."""

OTHERWISE = {"live", "test_my_strategy"}
"""Examples with tests of their own, below."""


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Done]]]:
    """Start the examples that this session asks for."""
    wanted = [
        str(item.callspec.params["name"])
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == test_the_example_runs.__name__
    ]
    jobs = [(name, [str(FOLDER / f"{name}.py")]) for name in wanted]
    with side_by_side(jobs, tmp_path_factory.mktemp("examples")) as found:
        yield found


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_example_runs(name: str, runs: dict[str, Future[Done]], tmp_path: Path) -> None:
    """It ends by itself, with exit code 0, nothing on standard error, and what it promises."""
    begun = runs.pop(name, None)  # a second try begins anew
    done = run([str(FOLDER / f"{name}.py")], tmp_path) if begun is None else begun.result()
    assert (done.returncode, LATE.sub("", done.stderr)) == (0, "")
    assert re.fullmatch(EXPECTED[name], done.stdout), done.stdout


def test_the_example_of_a_test_passes(tmp_path: Path) -> None:
    """It passes in pytest, with warnings as errors."""
    path = FOLDER / "test_my_strategy.py"
    done = run(["-m", "pytest", "-q", "-p", "no:cacheprovider", str(path)], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


def test_every_example_is_run_and_told_of() -> None:
    """No example is without a test, and each is in the index and says how to run it."""
    assert set(EXAMPLES) == EXPECTED.keys() | OTHERWISE
    index = INDEX.read_text(encoding="utf-8")
    assert set(EXAMPLES) == set(re.findall(r"\]\((\w+)\.py\)", index))
    for name in EXAMPLES:
        words = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8")))
        assert words is not None
        assert f"examples/{name}.py``" in words, name
        assert "It prints" in words, name


# ------------------------------------------------------------------ real money


def test_live_trading_refuses_by_default(tmp_path: Path) -> None:
    """Without a wallet it says what is missing, and ends with code 2."""
    done = run([str(FOLDER / "live.py")], tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Nothing was sent." in done.stderr
    assert "POLYMARKET_PRIVATE_KEY" in done.stderr


@pytest.mark.parametrize("sentence", ["", "yes", "real money of 0x" + "1" * 40])
def test_live_trading_refuses_a_wallet_without_the_sentence(sentence: str, tmp_path: Path) -> None:
    """With a key and without the words that name its own funds nothing is sent, and no key shown.

    The proxy answers nobody: a program that asked the venue for anything would say so.
    """
    key = "0x" + "42" * 32
    done = run(
        [str(FOLDER / "live.py"), "--confirm", sentence],
        tmp_path,
        POLYMARKET_PRIVATE_KEY=key,
        POLYMARKET_PROXY="http://127.0.0.1:9",
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "Nothing was sent. confirm: " in done.stderr
    assert 'say --confirm "real money of 0x' in done.stderr
    assert "42424242" not in done.stderr


def test_live_trading_works_at_the_local_venue(tmp_path: Path) -> None:
    """The same program with a wallet of its own bids and takes the bid back."""
    done = run([str(FOLDER / "live.py"), "--local"], tmp_path)
    assert (done.returncode, LATE.sub("", done.stderr)) == (0, "")
    assert re.fullmatch(
        r"btc-updown-5m-\d+: live bid 0.10 for 10\ncash: 1000.00 USD\n", done.stdout
    )


# ------------------------------------------------------------------ how long a strategy is


def code_lines(path: Path, names: set[str]) -> int:
    """Count the lines of the named definitions: without blank lines, comments and docstrings."""
    text = path.read_text(encoding="utf-8")
    wanted: set[int] = set()
    words: set[int] = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef) and node.name in names:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            wanted |= set(range(first, (node.end_lineno or 0) + 1))
            for inner in ast.walk(node):
                if isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant):
                    words |= set(range(inner.lineno, (inner.end_lineno or 0) + 1))
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
    code = {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in nothing
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(wanted & (code - words))


def test_a_rolling_strategy_takes_few_lines() -> None:
    """Strategy and program of the momentum example: 25 lines at most."""
    found = code_lines(FOLDER / "momentum.py", {"Momentum", "main"})
    assert 15 < found <= 25, found
