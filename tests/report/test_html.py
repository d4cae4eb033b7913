"""The page of a report: what is in it, what can never be, and how large it is."""

from __future__ import annotations

import base64
import hashlib
import importlib
import json
import os
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from typing_extensions import override

from polyframe.errors import ConfigError
from polyframe.model.order import Side
from polyframe.report.payload import LEAST_ORDERS, PAGE_ORDERS, PATH_POINTS, payload
from polyframe.report.reckoning import Life
from polyframe.report.values import Report
from tests.report.kit import HOSTILE, START, life, many, order, path, report_of

pytest.importorskip("plotly")

VOID = {"meta", "link", "img", "input", "br", "hr"}


@define
class Page(HTMLParser):
    """Reads a page as a browser would: elements, their attributes, the texts of scripts."""

    open: list[str] = field(factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(factory=list)
    scripts: list[tuple[str | None, str]] = field(factory=list)
    text: str = ""

    def __attrs_pre_init__(self) -> None:
        """Make the parser's own parts."""
        super().__init__()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type"), ""))
        if tag not in VOID:
            self.open.append(tag)

    @override
    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @override
    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            kind, before = self.scripts[-1]
            self.scripts[-1] = (kind, before + data)
        else:
            self.text += data

    @property
    def data(self) -> Any:
        """What the page draws."""
        (text,) = (script for kind, script in self.scripts if kind == "application/json")
        return json.loads(text)

    @property
    def programs(self) -> list[str]:
        """The scripts that are run."""
        return [script for kind, script in self.scripts if kind is None]


@frozen
class Saved:
    """A page that was saved."""

    text: str
    page: Page


def save(report: Report, folder: Path) -> Saved:
    """Save a page and read it."""
    report.save_html(folder / "some" / "page.html")
    text = (folder / "some" / "page.html").read_text(encoding="utf-8")
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    return Saved(text, page)


def hostile() -> Report:
    """Return a report in which every name would like to be a program."""
    bought = order(START * 1000 + 10_000, Side.BUY, "0.50", "10", ("0.50", "10"), strategy=HOSTILE)
    other = order(START * 1000 + 20_000, Side.BUY, "0.50", "10", strategy="</script><b>")
    cycle: Life = life(evolve(bought, answer=HOSTILE), other, prices=path((0, 49, 51)))
    cycle = evolve(cycle, slug=HOSTILE, series=HOSTILE, refusals={f"venue:{HOSTILE}": 2})
    report = evolve(report_of(cycle), source=HOSTILE, skipped={HOSTILE: 1})
    return report.with_bracket({HOSTILE: report})


def test_a_page_has_every_figure_and_its_data(tmp_path: Path) -> None:
    """The texts are there without a program; the data are what the charts need."""
    report = report_of(*many(3))
    page = save(report, tmp_path).page
    profit = report.profit
    assert profit is not None
    for told in (
        f"{profit:,.2f}",
        f"{report.total.fees:,.2f}",
        f"{report.total.volume:,.2f}",
        f"{report.total.trades}",
        "not recorded",
        "btc-updown-15m · 3 cycles, 3 traded",
    ):
        assert told in page.text
    cycles = page.data["cycles"]
    assert [cycle["slug"] for cycle in cycles] == [cycle.slug for cycle in report.cycles]
    assert [cycle["counts"][1] for cycle in cycles] == [c.figures.trades for c in report.cycles]
    assert sum(len(cycle["orders"]) for cycle in cycles) == report.total.orders
    assert cycles[0]["path"][0][0] == 0
    assert sum(cycles[0]["path"][1]) == report.cycles[0].path.bids[-1]  # type: ignore[union-attr]


def test_names_cannot_become_programs(tmp_path: Path) -> None:
    """Whatever a strategy, a market or a refusal is called is text on the page and nothing else."""
    saved = save(hostile(), tmp_path)
    assert [kind for kind, _ in saved.page.scripts] == ["application/json", None, None]
    assert "img" not in {tag for tag, _ in saved.page.elements}
    assert "b" not in {tag for tag, a in saved.page.elements if "class" not in a}
    assert HOSTILE in saved.page.text
    data = saved.page.data
    assert data["strategies"] == sorted([HOSTILE, "</script><b>"])
    assert data["cycles"][0]["slug"] == HOSTILE
    assert "alert(" not in "".join(saved.page.programs)


def test_only_the_pages_own_programs_may_run(tmp_path: Path) -> None:
    """Its policy names both by their hashes, and lets nothing else in."""
    saved = save(report_of(*many(1)), tmp_path)
    (policy,) = (
        attributes["content"]
        for tag, attributes in saved.page.elements
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy is not None
    for program in saved.page.programs:
        digest = base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].count("'") == 4
    assert "connect-src" not in rules
    assert rules["base-uri"] == rules["form-action"] == "'none'"


def test_a_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    """No element names an address, and neither program nor style of ours loads anything."""
    saved = save(hostile(), tmp_path)
    for _, attributes in saved.page.elements:
        assert not {"src", "href", "srcset", "action", "data", "poster"} & set(attributes)
    library, program = saved.page.programs
    rest = saved.text.replace(library, "").replace(program, "")
    style = re.findall(r"<style>(.*?)</style>", rest, re.DOTALL)
    for text in (program, *style):
        assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


def test_the_same_report_is_the_same_page(tmp_path: Path) -> None:
    """Byte for byte, with no trace of when it was made."""
    first, second = (save(report_of(*many(2)), tmp_path / name).text for name in ("one", "two"))
    assert first == second


def test_nothing_lived_and_nothing_traded_are_pages_too(tmp_path: Path) -> None:
    """They say so."""
    empty = save(report_of(), tmp_path).page
    assert "No cycle was lived." in empty.text
    assert empty.data["cycles"] == []
    idle = save(report_of(life()), tmp_path).page
    assert "1 cycle, 0 traded" in idle.text
    assert idle.data["curve"] == []


def test_a_run_in_which_nothing_was_asked_for_is_no_empty_table(tmp_path: Path) -> None:
    """Text, page and notebook say that nobody did anything, and where to look for why."""
    said, asked = report_of(life()), report_of(*many(1))
    for told in (said.text(), save(said, tmp_path).page.text, said._repr_html_()):
        assert "no strategy asked for anything" in told
        assert "reference prices that nobody provided" in told
    for told in (asked.text(), save(asked, tmp_path).page.text, asked._repr_html_()):
        assert "no strategy asked for anything" not in told
    assert "no strategy asked" not in report_of().text()


def test_a_thousand_cycles_make_a_page_of_bounded_size() -> None:
    """Paths are thinned, orders beyond a cycle's share are counted: under 5 MB of data."""
    report = report_of(*many(1_000, orders=20))
    data = payload(report)
    points = [len(cycle["path"][0]) for cycle in data["cycles"]]
    assert sum(points) <= PATH_POINTS
    assert min(points) >= 50
    orders = [cycle["orders"] for cycle in data["cycles"]]
    assert sum(map(len, orders)) <= max(PAGE_ORDERS, 1_000 * LEAST_ORDERS)
    assert {len(kept) for kept in orders} == {LEAST_ORDERS}
    assert {cycle["left_out"] for cycle in data["cycles"]} == {20 - LEAST_ORDERS}
    # What was filled is kept before what was not.
    for kept, cycle in zip(orders, report.cycles, strict=True):
        assert sum(bool(each[-1]) for each in kept) == min(LEAST_ORDERS, len(cycle.trades))
    assert len(json.dumps(data, separators=(",", ":"))) < 5_000_000


def test_without_plotly_the_error_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No half page is left behind."""
    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name.startswith("plotly"):
            raise ModuleNotFoundError(name=name)
        return real(name, package)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ConfigError, match=r"\[report\]' in the checkout of polyframe$"):
        report_of().save_html(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_a_notebook_gets_a_few_lines_without_a_program() -> None:
    """Figures and a curve, however long the run was, and names as text."""
    report = report_of(*many(300, orders=2))
    text = report._repr_html_()
    assert len(text) < 8_000
    assert "<svg" in text
    assert "<script" not in text
    assert report.profit is not None
    assert f"{report.profit.normalize():f} USD" in text
    assert "<script" not in hostile()._repr_html_()
    assert "<svg" not in report_of()._repr_html_()


def dom(page: Path) -> str:
    """Return what a browser makes of a page; skip if none is named."""
    browser = os.environ.get("POLYFRAME_BROWSER")
    if not browser:
        pytest.skip("POLYFRAME_BROWSER names no browser, for example chromium")
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
            *("--no-first-run", "--disable-background-networking", "--disable-sync"),
            *("--disable-component-update", "--virtual-time-budget=8000", "--dump-dom"),
            *(f"--user-data-dir={page.parent / 'profile'}", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout


def test_a_browser_draws_the_page(tmp_path: Path) -> None:
    """Its program runs to the end, under its own policy, with hostile names and with no cycle."""
    for number, report in enumerate((hostile(), report_of(), report_of(*many(30)))):
        page = tmp_path / f"{number}.html"
        report.save_html(page)
        made = dom(page)
        assert re.search(r'<html [^>]*data-ready="\d+"', made)
        charts = re.findall(r'<div class="chart[^"]*js-plotly-plot', made)
        assert bool(charts) == bool(report.cycles)


USER = """
const said = [];
const say = (...what) => said.push(what.join(" "));
const heads = [...document.querySelectorAll("#cycles th button")];
const column = (at) => [...document.querySelectorAll("#cycles tbody tr")].map((row) => row.cells[at].textContent);
const chosen = () => document.getElementById("pick").value;
heads[9].click(); say(...column(9));
heads[9].click(); say(...column(9));
heads[0].click(); document.querySelectorAll("#cycles tbody tr")[2].click(); say(chosen(), document.querySelectorAll("#orders tbody tr").length);
document.getElementById("after").click(); say(chosen());
document.getElementById("profits").emit("plotly_click", { points: [{ customdata: 0 }] }); say(chosen());
say(performance.getEntriesByType("resource").length);
document.body.dataset.said = said.join("|");
"""


def test_a_page_does_what_its_reader_clicks(tmp_path: Path) -> None:
    """Headings sort both ways, rows, buttons and bars choose a cycle, and nothing is loaded."""
    report = report_of(*many(5))
    report.save_html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    # Somebody who clicks: a script that the page's own policy would not let in.
    text = re.sub(r"<meta http-equiv[^>]*>", "", text)
    (tmp_path / "page.html").write_text(text.replace("</body>", f"<script>{USER}</script></body>"))
    found = re.search(r'data-said="([^"]*)"', dom(tmp_path / "page.html"))
    assert found is not None
    profits = sorted(cycle.figures.profit or 0 for cycle in report.cycles)
    rising = " ".join(f"{profit:.2f}" for profit in profits)
    falling = " ".join(f"{profit:.2f}" for profit in reversed(profits))
    orders = len(report.cycles[2].orders)
    assert found[1].split("|") == [rising, falling, f"2 {orders}", "3", "0", "0"]
