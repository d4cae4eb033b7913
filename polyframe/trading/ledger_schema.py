"""The tables of a ledger's file, and how a file is recognised."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from polyframe.errors import ConfigError

VERSION = 1
"""Version of the tables below."""

_COMMON = """
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES runs (run),
    time_ms INTEGER NOT NULL,
    series TEXT,
    slug TEXT,
    generation INTEGER"""

TABLES = (
    "CREATE TABLE polyframe_ledger (version INTEGER NOT NULL, created_by TEXT NOT NULL)",
    """CREATE TABLE runs (
    run INTEGER PRIMARY KEY,
    started_ms INTEGER NOT NULL,
    mode TEXT NOT NULL,
    exchange TEXT NOT NULL,
    version TEXT NOT NULL)""",
    f"""CREATE TABLE cycle_changes ({_COMMON},
    status TEXT NOT NULL,
    orders INTEGER NOT NULL,
    fills INTEGER NOT NULL,
    volume TEXT NOT NULL,
    fees TEXT NOT NULL,
    cash_flow TEXT NOT NULL,
    payout TEXT NOT NULL,
    winner TEXT,
    profit TEXT,
    refusals TEXT NOT NULL)""",
    f"""CREATE TABLE order_changes ({_COMMON},
    is_late INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    client_id TEXT NOT NULL,
    venue_id TEXT NOT NULL,
    token TEXT NOT NULL,
    strategy TEXT NOT NULL,
    outcome TEXT NOT NULL,
    side TEXT NOT NULL,
    price TEXT NOT NULL,
    size TEXT NOT NULL,
    order_type TEXT NOT NULL,
    post_only INTEGER NOT NULL,
    previous TEXT,
    status TEXT NOT NULL,
    filled TEXT NOT NULL,
    matched TEXT NOT NULL,
    average_price TEXT,
    fees TEXT NOT NULL,
    reason TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    updated_ms INTEGER NOT NULL,
    intent TEXT NOT NULL)""",
    f"""CREATE TABLE fill_changes ({_COMMON},
    is_late INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    trade_id TEXT NOT NULL,
    client_id TEXT NOT NULL,
    venue_id TEXT NOT NULL,
    strategy TEXT NOT NULL,
    outcome TEXT NOT NULL,
    side TEXT NOT NULL,
    price TEXT NOT NULL,
    size TEXT NOT NULL,
    fee TEXT NOT NULL,
    is_taker INTEGER NOT NULL,
    previous TEXT,
    status TEXT NOT NULL,
    match_ms INTEGER NOT NULL)""",
    f"""CREATE TABLE cancels ({_COMMON},
    client_id TEXT NOT NULL,
    venue_id TEXT NOT NULL,
    answer TEXT NOT NULL,
    text TEXT NOT NULL)""",
    f"""CREATE TABLE refusals ({_COMMON},
    rule TEXT NOT NULL,
    text TEXT NOT NULL,
    times INTEGER NOT NULL,
    strategy TEXT NOT NULL DEFAULT '')""",
    f"""CREATE TABLE late_events ({_COMMON},
    kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    result TEXT NOT NULL)""",
    f"""CREATE TABLE notes ({_COMMON},
    kind TEXT NOT NULL,
    data TEXT NOT NULL)""",
    "CREATE INDEX cycle_changes_slug ON cycle_changes (slug, run)",
    "CREATE INDEX order_changes_slug ON order_changes (slug, venue_id)",
    "CREATE INDEX fill_changes_slug ON fill_changes (slug, venue_id, trade_id)",
    "CREATE INDEX cancels_slug ON cancels (slug)",
    "CREATE INDEX refusals_slug ON refusals (slug)",
    "CREATE INDEX late_events_slug ON late_events (slug)",
    "CREATE INDEX notes_kind ON notes (kind)",
    # How things stand now: of each cycle, order and fill the last row. What a run has restored is in
    # its own record of the cycle, to the end: only the last of such records counts.
    """CREATE VIEW cycles AS SELECT * FROM cycle_changes AS c WHERE NOT EXISTS (
    SELECT 1 FROM cycle_changes AS later
    WHERE later.slug = c.slug AND later.run = c.run AND later.id > c.id)
    AND NOT EXISTS (SELECT 1 FROM notes AS later
    WHERE later.kind = 'restored' AND later.slug = c.slug AND later.run > c.run)""",
    """CREATE VIEW orders AS SELECT * FROM order_changes AS c WHERE NOT EXISTS (
    SELECT 1 FROM order_changes AS later
    WHERE later.slug = c.slug AND later.venue_id = c.venue_id AND later.id > c.id)""",
    """CREATE VIEW fills AS SELECT * FROM fill_changes AS c WHERE NOT EXISTS (
    SELECT 1 FROM fill_changes AS later
    WHERE later.slug = c.slug AND later.venue_id = c.venue_id AND later.trade_id = c.trade_id
    AND later.id > c.id)""",
)


def create(connection: sqlite3.Connection, version: str) -> None:
    """Make all tables, within the caller's transaction."""
    for statement in TABLES:
        connection.execute(statement)
    connection.execute("INSERT INTO polyframe_ledger VALUES (?, ?)", (VERSION, version))


def complete(connection: sqlite3.Connection) -> None:
    """Add what an earlier program did not have in its tables, within the caller's transaction.

    It has a default, so that the earlier program can go on writing to the file as well.
    """
    columns = {row[1] for row in connection.execute("PRAGMA table_info(refusals)")}
    if "strategy" not in columns:
        connection.execute("ALTER TABLE refusals ADD COLUMN strategy TEXT NOT NULL DEFAULT ''")


def is_empty(connection: sqlite3.Connection, path: Path) -> bool:
    """Return whether the file is to be filled with our tables; if not, they are in it.

    Raises:
        ConfigError: It is something else than a ledger, or one of a newer version.
        sqlite3.Error: It cannot be read; see `unusable`.
    """
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if not names:
        return True
    if "polyframe_ledger" not in names:
        raise _foreign(path)
    row = connection.execute("SELECT version, created_by FROM polyframe_ledger").fetchone()
    if row is None or not isinstance(row[0], int) or row[0] < VERSION:
        raise _foreign(path)
    if row[0] == VERSION:
        return False
    msg = (
        f"ledger: {path} was made by polyframe {row[1]} with tables of version {row[0]}, and this "
        f"one knows version {VERSION}; upgrade polyframe or name another file"
    )
    raise ConfigError(msg)


def unusable(path: Path, error: sqlite3.Error) -> ConfigError:
    """Return the error that says why a file cannot be opened."""
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
        return _foreign(path)
    return ConfigError(f"ledger: {path} cannot be opened: {error}")


def _foreign(path: Path) -> ConfigError:
    return ConfigError(f"ledger: {path} is no ledger of polyframe; name another file")
