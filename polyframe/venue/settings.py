"""What can be set on the local venue, and what it counts."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from attrs import Attribute, define, field, frozen

from polyframe.errors import ConfigError
from polyframe.model.money import decimal
from polyframe.venue.ratelimits import TIERS


def _not_negative(_: object, attribute: Attribute[Any], value: float | Decimal) -> None:
    if value < 0:
        msg = f"{attribute.name}: expected a number of at least 0, got {value!r}"
        raise ConfigError(msg)


def _positive(_: object, attribute: Attribute[Any], value: float) -> None:
    if not value > 0:
        msg = f"{attribute.name}: expected a number above 0, got {value!r}"
        raise ConfigError(msg)


def _is_tier(_: object, attribute: Attribute[str], value: str) -> None:
    if value not in TIERS:
        msg = f"{attribute.name}: expected one of {', '.join(TIERS)}, got {value!r}"
        raise ConfigError(msg)


def _to_decimal(value: object, name: str) -> Decimal:
    try:
        return decimal(value, name)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _to_cash(value: object) -> Decimal:
    return _to_decimal(value, "welcome_cash")


def _to_rebate(value: object) -> Decimal:
    return _to_decimal(value, "rebate")


@frozen(kw_only=True)
class VenueSettings:
    """Behaviour of the local venue. Seconds are the venue clock's unless stated otherwise.

    Attributes:
        mint_ahead: Seconds before its window from which a market exists.
        hydration: Seconds after that in which Gamma shows it without token ids and the CLOB does
            not know it (PROTOCOL §1.4).
        resolve_after: Seconds from the end of trading to the resolution.
        price_record_after: Seconds from the end of trading until Gamma tells the prices that decided
            (PROTOCOL §1.6).
        redeem: Whether winning shares turn into cash at the resolution by themselves.
        taker_delay: Seconds that a marketable order is held before it is matched (PROTOCOL §2.3).
        mined_after: Seconds from the match of a trade to its status MINED.
        confirmed_after: Seconds from the match of a trade to its status CONFIRMED.
        quiet: After so many seconds without a message of a market its books are sent again.
        skew: Real seconds that the time stamp of a signed request may differ from the venue's
            clock: on a `ScaledClock` as many times more of the venue's as it is faster.
        subscribe_timeout: Real seconds that a WebSocket may stay without a subscription.
        send_queue: Frames that may wait for one WebSocket; a reader slower than that is cut off.
        heartbeat_timeout: Real seconds after its last heartbeat at which the orders of a key are
            cancelled (PROTOCOL §2.6).
        user_lag: Real seconds by which messages of the user channel are late: with more than a
            request takes, the answer to an order comes before its events.
        tell_resolution: Whether ``market_resolved`` is sent (PROTOCOL §1.5: it may be missing).
        rate_tier: Tier of the token buckets that each account has (PROTOCOL §2.11).
        rate_enforced: Whether too many orders or cancels are refused with 429; otherwise the answer
            only warns of it.
        chain_id: Chain that wallets sign for: 137, or 80002 for the test network.
        max_accounts: Accounts that there may be.
        welcome_cash: USD of an account that a wallet opens by asking for an API key.
        rebate: Share of the takers' fees that makers get back, paid at midnight UTC (PROTOCOL §2.9).
        gtd_notice: Seconds that the expiration of a GTD order must be ahead (PROTOCOL §2.8).
        gtd_margin: Seconds before its expiration at which such an order ends.
        spend_usd: Whether a FOK or FAK buy spends the USD that it names, as at the real venue (PROTOCOL
            §2.8); otherwise it takes the shares that it names.
        whole_trades: Whether all that an order takes at once is one trade at an average price, as at
            the real venue (PROTOCOL §5.5); otherwise one for each price.
        history: Orders that are over, and trades, that one account can still read; the oldest go.
        max_open_orders: Orders of one account that may be open at once.
        admin: Whether every program on this machine may use ``{url}/admin``; else only one that
            sends `LocalVenue.admin_token`.
        max_connections: Connections that may be open at once; further ones are dropped.
        max_body: Bytes that the body of a request, or a frame, may have.
        max_subscriptions: Tokens, or markets, that one WebSocket may want; further ones are ignored.
        header_timeout: Real seconds that the head of a request may take.
        body_timeout: Real seconds that the body of a request may take.
    """

    mint_ahead: float = field(default=86_400.0, validator=_positive)
    hydration: float = field(default=0.0, validator=_not_negative)
    resolve_after: float = field(default=60.0, validator=_not_negative)
    price_record_after: float = field(default=120.0, validator=_not_negative)
    redeem: bool = True
    taker_delay: float = field(default=0.05, validator=_not_negative)
    mined_after: float = field(default=2.0, validator=_not_negative)
    confirmed_after: float = field(default=4.0, validator=_not_negative)
    quiet: float = field(default=5.0, validator=_positive)
    skew: float = field(default=60.0, validator=_positive)
    subscribe_timeout: float = field(default=10.0, validator=_positive)
    send_queue: int = field(default=4_096, validator=_positive)
    heartbeat_timeout: float = field(default=10.0, validator=_positive)
    user_lag: float = field(default=0.0, validator=_not_negative)
    tell_resolution: bool = True
    rate_tier: str = field(default="Standard", validator=_is_tier)
    rate_enforced: bool = False
    chain_id: int = field(default=137, validator=_positive)
    max_accounts: int = field(default=1_000, validator=_positive)
    welcome_cash: Decimal = field(
        default=Decimal(1_000), converter=_to_cash, validator=_not_negative
    )
    rebate: Decimal = field(default=Decimal("0.2"), converter=_to_rebate, validator=_not_negative)
    gtd_notice: float = field(default=180.0, validator=_not_negative)
    gtd_margin: float = field(default=60.0, validator=_not_negative)
    spend_usd: bool = True
    whole_trades: bool = True
    history: int = field(default=10_000, validator=_positive)
    max_open_orders: int = field(default=5_000, validator=_positive)
    admin: bool = False
    max_connections: int = field(default=1_000, validator=_positive)
    max_body: int = field(default=262_144, validator=_positive)
    max_subscriptions: int = field(default=1_000, validator=_positive)
    header_timeout: float = field(default=10.0, validator=_positive)
    body_timeout: float = field(default=10.0, validator=_positive)

    def __attrs_post_init__(self) -> None:
        if self.confirmed_after < self.mined_after:
            msg = (
                f"confirmed_after: expected at least mined_after ({self.mined_after:g}), "
                f"got {self.confirmed_after:g}"
            )
            raise ConfigError(msg)


@define(kw_only=True, eq=False)
class VenueStats:
    """What the venue counted since it was made.

    Attributes:
        market_connections, user_connections: WebSockets accepted.
        requests: HTTP requests answered, whatever the answer.
        orders: Orders accepted.
        refused: Orders refused.
        trades: Trades in which an account took part.
        fills: Fills of orders of accounts.
        source_events: Snapshots and prints taken from the source.
        slow_readers: WebSockets cut off because they did not read.
        skipped: Rows that the source could not use, by reason.
    """

    market_connections: int = 0
    user_connections: int = 0
    requests: int = 0
    orders: int = 0
    refused: int = 0
    trades: int = 0
    fills: int = 0
    source_events: int = 0
    slow_readers: int = 0
    skipped: Mapping[str, int] = field(factory=dict)
