"""``polyframe venue`` as people see it: what it prints, what it serves, and how it ends."""

from __future__ import annotations

import importlib.util
import json
import signal
import socket
import time
from typing import Any

import httpx
import pytest

from tests.cli.command import Command, complaints, polyframe

PROMPT = 20.0
"""Real seconds within which a signal ends the venue."""

needs_data = pytest.mark.skipif(
    importlib.util.find_spec("resolvedkit") is None or importlib.util.find_spec("pyarrow") is None,
    reason="the recording is not installed (extra 'data')",
)


def get(url: str) -> Any:
    """Return the answer to a request."""
    with httpx.Client(verify=False) as client:
        return client.get(url).json()


def test_it_serves_made_up_markets_of_the_present() -> None:
    """The hosts that it prints answer, with the market of now, by this machine's clock."""
    with Command("venue", "--seed", "5") as command:
        command.wait_line("Ctrl-C ends it")
        words = [line.split() for line in command.lines]
        hosts = {line[0]: line[1] for line in words if len(line) == 2}
        assert abs(get(hosts["clob"] + "/time") - time.time()) < 5
        now = int(time.time()) // 900 * 900
        market = get(f"{hosts['gamma']}/markets/slug/btc-updown-15m-{now}")
        assert market["acceptingOrders"] is True
        assert hosts["market_ws"].startswith("ws://127.0.0.1:")
        for name in ("api_key", "secret", "passphrase"):
            assert len(hosts[name]) > 30
        assert "account 1    0x" in command.output
        assert "1000 USD" in command.output
        assert "Order books: synthetic, btc-updown-15m, seed 5, 1× speed" in command.output
        assert "not checked" not in command.output
        command.signal(signal.SIGINT)
        assert command.wait(PROMPT) == 130
        assert complaints(command.errors) == ""


def test_programs_get_one_line_of_json() -> None:
    """Everything that a client needs to trade, for each account, and the clock runs faster."""
    options = ("--accounts", "2", "--cash", "50", "--speed", "100")
    series = ("--series", "eth-updown-5m", "--series", "sol-updown-15m")
    with Command("venue", "--synthetic", "--json", *options, *series) as command:
        facts = json.loads(command.wait_line(r"^\{"))
        assert [account["cash"] for account in facts["accounts"]] == ["50", "50"]
        assert len({account["api_key"] for account in facts["accounts"]}) == 2
        first = get(facts["clob"] + "/time")
        listed = get(facts["gamma"] + "/markets?limit=40")
        families = {row["slug"].rpartition("-")[0] for row in listed}
        assert families == {"eth-updown-5m", "sol-updown-15m"}
        deadline = time.monotonic() + PROMPT
        while get(facts["clob"] + "/time") < first + 10:
            assert time.monotonic() < deadline
        command.signal(signal.SIGTERM)
        assert command.wait(PROMPT) == 143


@needs_data
def test_it_replays_the_recorded_markets() -> None:
    """At the hour of the first of them, with the name of who recorded them."""
    with Command("venue", "--data", "real") as command:
        command.wait_line("Ctrl-C ends it")
        assert "Order books: Resolved Markets (resolvedkit), CC BY 4.0" in command.output
        assert "Time stamps of requests are not checked" in command.output
        gamma = next(line.split()[1] for line in command.lines if line.startswith("gamma"))
        market = get(f"{gamma}/markets/slug/btc-updown-15m-1790586000")
        assert market["acceptingOrders"] is True


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (("--host", "0.0.0.0"), "host: '0.0.0.0' can be reached by other machines"),
        (("--host", "0.0.0.0"), "(--allow-remote)"),
        (("--series", "nonsense"), "series"),
        pytest.param(
            ("--data", "real", "--series", "eth-updown-5m"),
            "series: the recorded markets are of btc-updown-15m; use --data synthetic",
            marks=needs_data,
        ),
        (("--cash", "-5"), "cash: expected an amount in USD of at least 0"),
    ],
)
def test_wrong_options_are_named(options: tuple[str, ...], text: str) -> None:
    """Exit code 2 and one sentence that names the option."""
    done = polyframe("venue", *options)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("polyframe venue: ")
    assert text in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_other_machines_are_let_in_on_request() -> None:
    """With the option any address can be bound, and it is said what that means."""
    with Command("venue", "--host", "0.0.0.0", "--allow-remote") as command:
        command.wait_line("Ctrl-C ends it")
        assert "Other machines may reach it" in command.output


def test_a_port_that_is_taken_is_said() -> None:
    """Exit code 2, not a traceback."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = polyframe("venue", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "port: cannot bind 127.0.0.1" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_names_every_option() -> None:
    """And how to end it."""
    done = polyframe("venue", "--help")
    text = " ".join(done.stdout.split())
    for word in ("--data", "--synthetic", "--seed", "--speed", "--host", "--port"):
        assert word in text
    for word in ("--allow-remote", "--accounts", "--cash", "--json", "--series", "Ctrl-C"):
        assert word in text
