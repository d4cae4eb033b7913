"""One page of a report that needs nothing but a browser.

The page holds plotly.js, its own program, its style and its data. Its Content-Security-Policy lets
nothing in from elsewhere, and runs no script but these two, which it knows by their hashes: a name
out of a ledger cannot become a program.
"""

from __future__ import annotations

import base64
import hashlib
import importlib
import importlib.resources
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polyframe.errors import ConfigError
from polyframe.paths import local_path
from polyframe.report.payload import payload
from polyframe.report.render import IDLE, NOT_RECORDED, failed_text, is_idle, number, oddities

if TYPE_CHECKING:
    from polyframe.report.values import Part, Report

_CENT = Decimal("0.01")
_UNKNOWN = "not known yet"

_CYCLE_COLUMNS = (
    *("market", "begins (UTC)", "winner", "orders", "filled"),
    *("volume", "fees", "exposure", "drawdown", "profit"),
)
_ORDER_COLUMNS = (
    *("sent (UTC)", "strategy", "order", "wanted", "got", "mid", "there, to the limit", "result"),
)
_TEXT_COLUMNS = frozenset({"market", "winner", "strategy", "order"})

Cell = tuple[str, str]
"""A text and the class of its place."""


def save(report: Report, path: Path) -> None:
    """Write the page; its folder is made if need be.

    Raises:
        ConfigError: The extra ``report`` is not installed, or the path is a URL.
    """
    local_path("path", path)
    content = page(report).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def page(report: Report) -> str:
    """Return the page.

    Raises:
        ConfigError: The extra ``report`` is not installed.
    """
    library, program = (_closed(text) for text in (_plotly(), _asset("page.js")))
    policy = (
        f"default-src 'none'; script-src {_hash(library)} {_hash(program)}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )
    title = f"polyframe: {report.source} report"
    return "\n".join(
        (
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(title)}</title>",
            f"<style>\n{_asset('page.css')}</style>",
            "</head>",
            "<body>",
            *_body(report),
            f'<script type="application/json" id="data">{_json(payload(report))}</script>',
            # The texts and tables above are there before the large library is read.
            f"<script>{library}</script>",
            f"<script>{program}</script>",
            "</body>",
            "</html>",
            "",
        )
    )


def load_plotly() -> Any:
    """Return what pages are made with; a program that will need it later can ask for it early.

    Raises:
        ConfigError: The extra ``report`` is not installed.
    """
    try:
        return importlib.import_module("plotly.offline")
    except ModuleNotFoundError as error:
        msg = (
            f"a page of charts: the package {error.name} is not installed; "
            "install what pages are made with: pip install '.[report]' in the checkout of polyframe"
        )
        raise ConfigError(msg) from error


def _plotly() -> str:
    text: str = load_plotly().get_plotlyjs()
    return text


def _asset(name: str) -> str:
    folder = importlib.resources.files("polyframe.report") / "assets"
    return (folder / name).read_text(encoding="utf-8")


def _closed(script: str) -> str:
    """Return a script that does not end its own element, with the ends of lines that browsers hash."""
    script = script.replace("\r\n", "\n").replace("\r", "\n")
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _json(data: Mapping[str, Any]) -> str:
    text = json.dumps(data, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


# ---------------------------------------------------------------------- what needs no program


def _body(report: Report) -> Iterable[str]:
    yield f"<h1>{escape(_heading(report))}</h1>"
    yield f'<p class="soft">{escape(_about(report))}</p>'
    if report.failures:
        yield f'<p class="note">{escape(failed_text(report))}</p>'
    yield '<div class="cards">'
    for label, value, note, shade in _cards(report):
        yield (
            f'<div class="card"><span>{escape(label)}</span>'
            f'<b class="{shade}">{escape(value)}</b><small>{escape(note)}</small></div>'
        )
    yield "</div>"
    yield '<noscript><p class="note">Charts and the table of cycles need JavaScript.</p></noscript>'
    yield _section("Profit over the run", _chart("equity"))
    yield _section("Profit of each cycle", _chart("profits"))
    yield _section("One cycle", *_one_cycle(), identity="one")
    yield '<div class="pair">'
    yield _section("How results are spread", _chart("results"))
    yield _section("What was there when orders were decided", _chart("depth"))
    yield "</div>"
    yield '<div class="pair">'
    yield _section("Refused", _chart("refusals"))
    yield _section("Run with", _facts(report))
    yield "</div>"
    if report.strategies:
        yield _section("Strategies", _parts("strategy", report.strategies))
    if report.bracket:
        note = "A result that holds under one queue model only is none."
        about = f'<p class="note">{note}</p>'
        yield _section("Queue models", about, _parts("queue model", report.bracket))
    heads = "".join(_head(name, is_button=True) for name in _CYCLE_COLUMNS)
    yield _section("Cycles", _table("cycles", heads, ""))


def _heading(report: Report) -> str:
    return {"back-test": "Back-test", "live": "Live trading", "paper": "Paper trading"}.get(
        report.source, report.source
    )


def _about(report: Report) -> str:
    count = len(report.cycles)
    if not count:
        return "No cycle was lived."
    cycles = "cycle" if count == 1 else "cycles"
    series = ", ".join(sorted({cycle.series for cycle in report.cycles}))
    traded = sum(bool(cycle.figures.trades) for cycle in report.cycles)
    first, last = report.cycles[0].start, max(cycle.end for cycle in report.cycles)
    return f"{series} · {count} {cycles}, {traded} traded · {_time(first)} to {_time(last)} UTC"


def _cards(report: Report) -> Iterable[tuple[str, str, str, str]]:
    """Yield label, value, note and shade of each figure."""
    total = report.total
    profit, open_cycles = total.profit, sum(c.figures.profit is None for c in report.cycles)
    known = report.known_profit
    earned = f"realised {_usd(total.realised)}, settled {_usd(total.settled)}"
    waits = f"where it is known; {open_cycles} traded cycles are not resolved"
    shade = "" if not known else "good" if known > 0 else "bad"
    yield "net profit, USD", _usd(known), earned if profit is not None else waits, shade
    ends = f"{_usd(report.drawdown)} when cycles end"
    yield "drawdown, USD", _usd(total.marked_drawdown), f"at the bids; {ends}", ""
    yield (
        "hit rate",
        _share(report.hit_rate),
        f"{report.whole.won} of {report.whole.traded} traded cycles",
        "",
    )
    yield "trades", f"{total.trades:,}", f"{total.orders:,} orders, {total.fills:,} fills", ""
    yield "volume, USD", _usd(total.volume), f"{number(total.shares)} shares", ""
    yield "fees, USD", _usd(total.fees), f"maker share {_share(total.maker_share)}", ""
    per = number(total.profit_per_dollar) or "–"
    yield "profit per share", number(total.profit_per_share) or "–", f"per dollar {per}", ""
    touch = "against the price at the decision"
    against = f"{_usd(total.slippage_touch)} {touch}"
    yield "slippage, USD", _usd(total.slippage_mid), f"against the mid; {against}", ""
    yield "exposure, USD", _usd(total.exposure), "the most that shares had cost at one time", ""
    seconds = int(total.seconds_in_market)
    spent = f"{seconds // 3600} h {seconds // 60 % 60} min {seconds % 60} s"
    yield "time in the market", spent, "until the windows' ends", ""


def _one_cycle() -> Iterable[str]:
    yield (
        '<div class="bar"><button id="before" aria-label="the cycle before">◀</button>'
        '<select id="pick" aria-label="cycle"></select>'
        '<button id="after" aria-label="the cycle after">▶</button>'
        '<span id="cycle-facts" class="soft"></span></div>'
    )
    yield '<div class="chart tall" id="cycle"></div><p id="cycle-note" class="note"></p>'
    yield _table("orders", "".join(_head(name) for name in _ORDER_COLUMNS), "")


def _facts(report: Report) -> str:
    models = NOT_RECORDED if report.models is None else str(report.models)
    cash = NOT_RECORDED if report.cash is None else _usd(report.cash)
    ran = "; ".join(report.ran) or NOT_RECORDED
    rows = [("strategies", ran), ("models", models), ("cash at the end, USD", cash)]
    if is_idle(report):
        rows.insert(1, ("what they did", IDLE))
    rows += ({"rows skipped": "none", "rows doubtful": "none"} | dict(oddities(report))).items()
    items = "".join(f"<dt>{escape(label)}</dt><dd>{escape(told)}</dd>" for label, told in rows)
    return f"<dl>{items}</dl>"


def _parts(kind: str, parts: Mapping[str, Part]) -> str:
    names = (kind, "orders", "filled", "shares", "volume", "maker share", "fees", "hit rate")
    heads = "".join(map(_head, (*names, "drawdown", "profit")))
    rows = []
    for name, part in parts.items():
        figures = part.figures
        profit = _UNKNOWN if figures.profit is None else _usd(figures.profit)
        cells: list[Cell] = [
            (name, "text wrap"),
            (f"{figures.orders:,}", ""),
            (f"{figures.trades:,}", ""),
            (number(figures.shares), ""),
            (_usd(figures.volume), ""),
            (_share(figures.maker_share), ""),
            (_usd(figures.fees), ""),
            (_share(part.hit_rate), ""),
            (_usd(part.drawdown), ""),
            (profit, "" if not figures.profit else "good" if figures.profit > 0 else "bad"),
        ]
        rows.append("".join(f'<td class="{shade}">{escape(t)}</td>' for t, shade in cells))
    return _table("", heads, "".join(f"<tr>{row}</tr>" for row in rows))


def _section(title: str, *parts: str, identity: str = "") -> str:
    mark = f' id="{identity}"' if identity else ""
    return f"<section{mark}><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _chart(name: str) -> str:
    return f'<div class="chart" id="{name}"></div>'


def _head(name: str, *, is_button: bool = False) -> str:
    kind = ' class="text"' if name in _TEXT_COLUMNS else ""
    label = f"<button>{escape(name)}</button>" if is_button else escape(name)
    return f"<th{kind}>{label}</th>"


def _table(identity: str, heads: str, rows: str) -> str:
    mark = f' id="{identity}"' if identity else ""
    return (
        f'<div class="scroll"><table{mark}><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _usd(value: Decimal | None) -> str:
    if value is None:
        return NOT_RECORDED
    rounded = value.quantize(_CENT)
    return f"{rounded + 0:,f}" if rounded else "0.00"


def _share(value: Decimal | None) -> str:
    return "–" if value is None else f"{value * 100:.1f} %"


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"
