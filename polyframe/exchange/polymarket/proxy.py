"""The proxy that requests and streams go through: none, unless one is named."""

from __future__ import annotations

import os
from urllib.parse import SplitResult, urlsplit

from attrs import Attribute

from polyframe.errors import ConfigError

PROXY_VARIABLE = "POLYMARKET_PROXY"
"""Environment variable that names a proxy for the real venue. The usual ones (``HTTPS_PROXY`` and so
on) are not read: orders and secrets take the way that is configured for them."""


def check_proxy(_: object, attribute: Attribute[str | None], value: object) -> None:
    """Refuse what is no address of an HTTP proxy, without showing it: it may hold a password.

    Raises:
        ConfigError: It is none; names the setting.
    """
    if value is not None and not (isinstance(value, str) and _is_proxy(value)):
        msg = (
            f"{attribute.name}: expected http://host:port or https://host:port, with user:password@ "
            "before the host if the proxy wants them"
        )
        raise ConfigError(msg)


def _is_proxy(value: str) -> bool:
    if not value.isascii() or not value.isprintable() or " " in value:
        return False
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        return False
    return (
        parts.scheme in {"http", "https"}
        and bool(parts.hostname)
        and port != 0
        and parts.path in {"", "/"}
        and not (parts.query or parts.fragment)
        and (parts.username is None) is (parts.password is None)
    )


def shown_proxy(value: str | None) -> str:
    """Return a proxy's address as people may see it: without user and password."""
    if value is None:
        return "None"
    parts = urlsplit(value)
    bare = SplitResult(parts.scheme, parts.netloc.rpartition("@")[2], "", "", "").geturl()
    return f"'{bare}'" if parts.username is None else f"'{bare}' (with a password)"


def proxy_from_env() -> str | None:
    """Return the proxy that `PROXY_VARIABLE` names, ``None`` without one.

    Raises:
        ConfigError: It names no proxy; the message has the variable, not the value.
    """
    value = os.environ.get(PROXY_VARIABLE, "").strip()
    if value and not _is_proxy(value):
        msg = f"proxy: set {PROXY_VARIABLE} to http://host:port, or remove it"
        raise ConfigError(msg)
    return value or None
