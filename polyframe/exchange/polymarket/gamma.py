"""Market rows of the metadata service and of the CLOB into `Market` and `Resolution` (PROTOCOL §1)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from polyframe.exchange.polymarket.wire import epoch_ms, flag, optional_decimal, parse_json, text
from polyframe.model.fees import NO_FEES, FeeSchedule
from polyframe.model.market import Market, Outcome, Resolution
from polyframe.model.money import ONE, PRICE_UNITS, ZERO, decimal
from polyframe.model.reference import PriceRecord
from polyframe.model.series import Series, Window

CRYPTO_FEES = FeeSchedule(rate=Decimal("0.07"), exponent=1)
"""Taker fee of crypto markets (PROTOCOL §2.9), for rows that say "fees" and not how much."""

_DEFAULT_TICK = Decimal("0.01")
_DEFAULT_MIN_SIZE = Decimal(5)


class NotTradable(ValueError):
    """A row that is not (yet) the market that was asked for.

    Attributes:
        reason: Short stable word, the reason of `Count.MARKET_WAITS`.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


def read_market(row: object, series: Series, window: Window) -> Market:
    """Return the market that a Gamma row describes (PROTOCOL §1.3).

    A flag that is missing is no objection; one that says no is.

    Raises:
        NotTradable: Closed, not open yet, not hydrated, of another window, or not understood.
    """
    if not isinstance(row, dict):
        raise NotTradable("bad_row", f"expected an object, got {type(row).__name__}")
    slug = series.slug(window)
    if text(row.get("slug")) != slug:
        raise NotTradable("wrong_slug", text(row.get("slug")))
    _check_flags(row)
    _check_window(row, window)
    condition_id = text(row.get("conditionId"))
    if not condition_id:
        raise NotTradable("hydrating", "no condition id")
    tokens = _tokens(row)
    return Market(
        slug=slug,
        series=series,
        window=window,
        condition_id=condition_id,
        up_token=tokens[Outcome.UP],
        down_token=tokens[Outcome.DOWN],
        tick_size=_tick(row),
        min_size=_number(row, "orderMinSize", "bad_min_size") or _DEFAULT_MIN_SIZE,
        fees=_fees(row),
        neg_risk=flag(row.get("negRisk"), default=False),
        question=text(row.get("question")),
    )


def read_resolution(row: object, market: Market) -> Resolution | None:
    """Return how a Gamma row says that `market` ended, ``None`` if that is not final (§1.5)."""
    if not isinstance(row, dict) or text(row.get("conditionId")) != market.condition_id:
        return None
    final = text(row.get("umaResolutionStatus")).lower() == "resolved"
    if not flag(row.get("closed"), default=False) or not final:
        return None
    labels, prices = _texts(row.get("outcomes")), _texts(row.get("outcomePrices"))
    payouts: dict[str, Decimal] = {}
    try:
        for label, price in zip(labels, prices, strict=True):
            payouts[label] = decimal(price, "outcomePrices")
    except ValueError:
        return None
    for winner in Outcome:
        if payouts == {winner.value: ONE, winner.other.value: ZERO}:
            return Resolution(winner=winner, source="gamma")
    return None


def read_clob_resolution(row: object, market: Market) -> Resolution | None:
    """Return the winner that a CLOB market object flags, ``None`` if it flags none (§1.5)."""
    if not isinstance(row, dict) or not flag(row.get("closed"), default=False):
        return None
    tokens = row.get("tokens")
    winners = {
        text(token.get("token_id"))
        for token in (tokens if isinstance(tokens, list) else ())
        if isinstance(token, dict) and flag(token.get("winner"), default=False)
    }
    if len(winners) != 1:
        return None
    outcome = market.outcome(winners.pop())
    return None if outcome is None else Resolution(winner=outcome, source="clob")


def read_price_record(row: object, slug: str) -> PriceRecord:
    """Return the prices that a Gamma row records for the window of `slug` (PROTOCOL §1.6).

    They come minutes after the end of the window, with holes; what cannot be read is not there.
    """
    if not isinstance(row, dict) or text(row.get("slug")) != slug:
        return PriceRecord()
    events = row.get("events")
    event = events[0] if isinstance(events, list) and events else None
    found = event.get("eventMetadata") if isinstance(event, dict) else None
    metadata = found if isinstance(found, dict) else {}
    return PriceRecord(
        price_to_beat=_price(metadata.get("priceToBeat")),
        final_price=_price(metadata.get("finalPrice")),
    )


def _price(value: object) -> Decimal | None:
    try:
        return optional_decimal(value, "price") or None
    except ValueError:
        return None


def _check_flags(row: dict[str, Any]) -> None:
    for name, wanted, reason in (
        ("archived", False, "archived"),
        ("closed", False, "closed"),
        ("active", True, "inactive"),
        ("enableOrderBook", True, "no_order_book"),
        ("acceptingOrders", True, "not_accepting"),
    ):
        if flag(row.get(name), default=wanted) is not wanted:
            raise NotTradable(reason)


def _check_window(row: dict[str, Any], window: Window) -> None:
    start: object = row.get("eventStartTime")
    if not start:
        events = row.get("events")
        first = events[0] if isinstance(events, list) and events else None
        start = first.get("startTime") if isinstance(first, dict) else None
    for name, value, wanted in (
        ("eventStartTime", start, window.start),
        ("endDate", row.get("endDate"), window.end),
    ):
        try:
            found = epoch_ms(value)
        except ValueError as exc:
            raise NotTradable("wrong_window", f"{name}: {exc}") from exc
        if found != wanted * 1000:
            raise NotTradable("wrong_window", f"{name} is {value!r}, expected {wanted}")


def _tokens(row: dict[str, Any]) -> dict[Outcome, str]:
    labels, ids = _texts(row.get("outcomes")), _texts(row.get("clobTokenIds"))
    if not ids or not all(ids):
        raise NotTradable("hydrating", "no token ids")
    if sorted(labels) != ["Down", "Up"] or len(ids) != 2 or ids[0] == ids[1]:
        raise NotTradable("bad_outcomes", f"outcomes {labels} with {len(ids)} token ids")
    return {Outcome(label): token for label, token in zip(labels, ids, strict=True)}


def _texts(value: object) -> list[str]:
    """Return a list that comes as JSON text inside a string, or as a real one (§1.3)."""
    if isinstance(value, str):
        try:
            value = parse_json(value.encode())
        except ValueError:
            return []
    return [text(item) for item in value] if isinstance(value, list) else []


def _number(row: dict[str, Any], name: str, reason: str) -> Decimal | None:
    try:
        return optional_decimal(row.get(name), name)
    except ValueError as exc:
        raise NotTradable(reason, str(exc)) from exc


def _tick(row: dict[str, Any]) -> Decimal:
    tick = _number(row, "orderPriceMinTickSize", "bad_tick")
    if tick is None:
        return _DEFAULT_TICK
    try:
        return checked_tick(tick)
    except ValueError as exc:
        raise NotTradable("bad_tick", str(exc)) from exc


def _fees(row: dict[str, Any]) -> FeeSchedule:
    if not flag(row.get("feesEnabled"), default=True):
        return NO_FEES
    schedule = row.get("feeSchedule")
    if schedule is None:
        return CRYPTO_FEES
    if not isinstance(schedule, dict):
        raise NotTradable("bad_fees", type(schedule).__name__)
    # To trade with a wrong idea of the fee is worse than to wait.
    rate = _number(schedule, "rate", "bad_fees")
    exponent = _number(schedule, "exponent", "bad_fees")
    try:
        return checked_fees(rate, exponent)
    except ValueError as exc:
        raise NotTradable("bad_fees", str(exc)) from exc


def checked_tick(tick: Decimal) -> Decimal:
    """Return a price step.

    Raises:
        ValueError: It does not divide 1 USD into whole steps of at least 0.0001.
    """
    units = tick * PRICE_UNITS
    if not ZERO < tick < ONE or units != int(units) or PRICE_UNITS % int(units):
        msg = f"tick: expected a step that divides 1 USD, got {tick}"
        raise ValueError(msg)
    return tick.normalize()


def checked_fees(rate: Decimal | None, exponent: Decimal | None) -> FeeSchedule:
    """Return a fee schedule.

    Raises:
        ValueError: One of the two is missing, or makes no sense.
    """
    if rate is None or exponent is None or exponent != int(exponent) or exponent > 10 or rate > ONE:
        msg = f"fees: rate {rate}, exponent {exponent}"
        raise ValueError(msg)
    return FeeSchedule(rate=rate, exponent=int(exponent))
