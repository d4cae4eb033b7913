"""What a report costs: to sum up, to save as a page, and to open in a browser.

::

    python benchmarks/report.py [--cycles 1 18 1000] [--rounds 3] [--browser chromium]

Cycles are made up and as full as they come: a price path of 360 points and twelve orders each. Sums and
pages are told in processor time, medians over the rounds. A browser is started anew for each opening;
what is told is its own count of milliseconds from the request for the page until every chart is drawn.
"""

from __future__ import annotations

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from polyframe.report.values import Report
from tests.report.kit import many, report_of


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the seconds of processor time that `work` takes, the median of `rounds`."""
    taken = []
    for _ in range(rounds):
        begun = time.process_time()
        work()
        taken.append(time.process_time() - begun)
    return statistics.median(taken)


def opening(browser: str, page: Path) -> float:
    """Return the seconds until all charts of a page are drawn."""
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(  # noqa: S603 - the browser that the caller names
            [
                *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"),
                *("--no-first-run", "--disable-background-networking", "--disable-sync"),
                *("--disable-component-update", "--window-size=1400,1000", "--dump-dom"),
                *(f"--user-data-dir={profile}", page.as_uri()),
            ],
            capture_output=True,
            text=True,
            check=True,
            timeout=300,
        )
    found = re.search(r'<html [^>]*data-ready="(\d+)"', done.stdout)
    if found is None:
        msg = f"browser: {browser} did not draw {page}"
        raise RuntimeError(msg)
    return int(found[1]) / 1000


def measure(count: int, rounds: int, browser: str) -> str:
    """Return a line with the figures of a report of `count` cycles."""
    lives = list(many(count))
    reports: list[Report] = []
    summing = seconds(lambda: reports.append(report_of(*lives)), rounds)
    report = reports[-1]
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        saving = seconds(lambda: report.save_html(page), rounds)
        line = (
            f"{count:>6} cycles: sums {summing:.2f} s, page saved in {saving:.2f} s, "
            f"{page.stat().st_size / 1e6:.1f} MB, notebook {len(report._repr_html_()) / 1e3:.1f} kB"
        )
        if browser:
            drawn = statistics.median(opening(browser, page) for _ in range(rounds))
            line += f", drawn after {drawn:.2f} s"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--cycles", type=int, nargs="+", default=[1, 18, 1_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--browser", default="", help="for example chromium")
    options = parser.parse_args()
    for count in options.cycles:
        print(measure(count, options.rounds, options.browser))


if __name__ == "__main__":
    main()
