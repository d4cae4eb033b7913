"""Hosts and settings."""

from __future__ import annotations

import math
from typing import Any

import pytest

from polyframe.errors import ConfigError
from polyframe.exchange.polymarket import PolymarketHosts, StreamSettings


def test_the_defaults_are_the_real_venue() -> None:
    """Without arguments the hosts are the venue's own, and not on this machine (PROTOCOL §0.3)."""
    hosts = PolymarketHosts()
    assert hosts.gamma == "https://gamma-api.polymarket.com"
    assert hosts.clob == "https://clob.polymarket.com"
    assert hosts.ws == "wss://ws-subscriptions-clob.polymarket.com"
    assert not hosts.is_loopback


@pytest.mark.parametrize(
    ("url", "ws"),
    [
        ("http://127.0.0.1:8080/", "ws://127.0.0.1:8080"),
        ("http://localhost:1", "ws://localhost:1"),
        ("http://[::1]:9", "ws://[::1]:9"),
        ("https://127.8.8.8:1", "wss://127.8.8.8:1"),
    ],
)
def test_one_url_gives_all_hosts_of_a_local_venue(url: str, ws: str) -> None:
    """A local venue serves Gamma, CLOB and WebSockets below one URL."""
    hosts = PolymarketHosts.local(url)
    base = url.rstrip("/")
    assert (hosts.gamma, hosts.clob, hosts.ws) == (f"{base}/gamma", f"{base}/clob", ws)
    assert hosts.is_loopback


@pytest.mark.parametrize("field", ["gamma", "clob", "ws"])
def test_one_remote_host_makes_the_whole_remote(field: str) -> None:
    """Hosts count as local only if all three are."""
    local = {
        "gamma": "http://127.0.0.1:1",
        "clob": "http://127.0.0.1:1",
        "ws": "ws://127.0.0.1:1",
    }
    remote = "wss://example.com" if field == "ws" else "https://example.com"
    assert PolymarketHosts(**local).is_loopback
    assert not PolymarketHosts(**(local | {field: remote})).is_loopback


@pytest.mark.parametrize(
    ("field", "url"),
    [
        ("gamma", ""),
        ("gamma", "gamma-api.polymarket.com"),
        ("clob", "ws://127.0.0.1"),
        ("ws", "https://127.0.0.1"),
        ("clob", "https://user:pass@example.com"),
        ("clob", "https://example.com?a=1"),
        ("clob", "https://example.com:99999"),
        ("clob", "http://clob.polymarket.com"),
        ("ws", "ws://127.0.0.1.example.com"),
        ("gamma", "http://localhost.example.com"),
    ],
)
def test_urls_that_cannot_be_meant_are_refused(field: str, url: str) -> None:
    """A wrong scheme, leftovers, or an unencrypted remote host is refused by the field's name."""
    with pytest.raises(ConfigError, match=f"^{field}: "):
        PolymarketHosts(**{field: url})


@pytest.mark.parametrize(
    "field",
    [
        "ping_interval",
        "silence",
        "price_silence",
        "pong_timeout",
        "open_timeout",
        "snapshot_timeout",
        "backoff_base",
        "backoff_cap",
    ],
)
@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_times_must_be_positive_and_finite(field: str, value: Any) -> None:
    """A time that would never or always pass is refused by the field's name."""
    with pytest.raises(ConfigError, match=f"^{field}: "):
        StreamSettings(**{field: value})


def test_the_user_queue_holds_at_least_one() -> None:
    """A queue without room is refused."""
    with pytest.raises(ConfigError, match=r"^user_queue: "):
        StreamSettings(user_queue=0)
