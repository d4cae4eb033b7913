"""Every recorded message, and what has to come out of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from polyframe.exchange.polymarket.answers import (
    cancel_answer,
    named_ids,
    place_answer,
    place_answers,
)
from polyframe.exchange.polymarket.datarecords import (
    read_activity,
    read_position,
    read_recorded_resolution,
    read_trade,
)
from polyframe.exchange.polymarket.gamma import (
    NotTradable,
    read_clob_resolution,
    read_market,
    read_resolution,
)
from polyframe.exchange.polymarket.orders import unsigned_body
from polyframe.exchange.polymarket.refusals import error_of
from polyframe.exchange.polymarket.signing import LocalSigner
from polyframe.exchange.polymarket.wire import optional_decimal, parse_json
from polyframe.model.events import (
    BestQuote,
    BookDelta,
    BookSnapshot,
    MarketResolved,
    OrderReport,
    TickSizeChange,
    TradePrint,
    TradeReport,
)
from polyframe.model.market import Market
from polyframe.model.series import Series, Window
from tests.exchange.kit import ADDRESS, MARKET, SAMPLES, Wire, sample
from tests.exchange.test_exchange import REQUEST
from tests.exchange.test_rest import Venue
from tests.exchange.test_wire_reference import rtds

Reader = Callable[[bytes], list[str]]


def brief(item: Any) -> str:
    """Return the values of a decoded message in one line; long ids by their first letters."""
    if isinstance(item, OrderReport):
        return (
            f"{item.order_id[:6]} {item.kind} {item.status[:8]} {item.side} "
            f"{item.size_matched}/{item.original_size} at {item.price} "
            f"{item.token[:4]} {item.timestamp_ms}"
        )
    if isinstance(item, TradeReport):
        legs = "; ".join(
            f"{leg.order_id[:6]} {leg.side} {leg.size} at {leg.price} {leg.token[:4]}"
            f"{' taker' if leg.is_taker else ''}"
            for leg in item.legs
        )
        return f"{item.trade_id[:8]} {item.status} {item.match_time_ms} {item.timestamp_ms}: {legs}"
    if isinstance(item, BookSnapshot):
        bid, ask = max(item.bids), min(item.asks)
        return (
            f"{item.token[:4]} {len(item.bids)}x{len(item.asks)} "
            f"{bid[0]}:{bid[1]} {ask[0]}:{ask[1]} {item.timestamp_ms}"
        )
    if isinstance(item, BookDelta):
        changes = "; ".join(
            f"{c.token[:4]} {'bid' if c.is_bid else 'ask'} {c.price}:{c.size} "
            f"{c.best_bid}/{c.best_ask}"
            for c in item.changes
        )
        return f"{item.timestamp_ms}: {changes}"
    if isinstance(item, BestQuote):
        return f"{item.token[:4]} {item.best_bid}/{item.best_ask} {item.timestamp_ms}"
    if isinstance(item, TradePrint):
        return f"{item.token[:4]} {item.side} {item.price}:{item.size} {item.timestamp_ms}"
    if isinstance(item, TickSizeChange):
        return f"{item.token[:4]} {item.new_tick} {item.timestamp_ms}"
    if isinstance(item, MarketResolved):
        return f"{item.market[:6]} {item.winning_token[:4]} {item.timestamp_ms}"
    return str(item)


def market(raw: bytes) -> list[str]:
    """Read a frame of the market channel."""
    wire = Wire()
    found = [brief(message) for message in wire.market(raw)]
    return found + [f"skipped {kind}" for kind in wire.skipped]


def user(raw: bytes) -> list[str]:
    """Read a frame of the user channel."""
    wire = Wire()
    return [brief(message) for message in wire.user(raw)] + list(wire.skipped)


def orders(raw: bytes) -> list[str]:
    """Read a page of open orders, as the client asks for it."""
    return [brief(report) for report in Venue(raw).ask(lambda rest: rest.fetch_open_orders())]


def trades(raw: bytes) -> list[str]:
    """Read a page of trades, or one trade."""
    value = parse_json(raw)
    page = value if "data" in value else {"data": [value]}
    return [brief(report) for report in Venue(page).ask(lambda rest: rest.fetch_trades())]


def cancels(raw: bytes) -> list[str]:
    """Read the answer to a cancel."""
    value = parse_json(raw)
    answer = cancel_answer(value, named_ids(value))
    return sorted(order_id[:6] for order_id in answer.cancelled) + [
        f"{order_id[:6]} {reason}" for order_id, reason in answer.refused.items()
    ]


def placing(raw: bytes) -> list[str]:
    """Read the answer to an order; the id is the one that the sample names."""
    value = parse_json(raw)
    if isinstance(value, list):
        answers = place_answers(200, raw, ["0x1"])
    else:
        answers = [place_answer(200, raw, value["orderID"] or "0x1")]
    return [f"{answer.result} {answer.code}" for answer in answers]


def error(raw: bytes) -> list[str]:
    """Read an error body with its status."""
    found = error_of(500, raw, "POST /order", None)
    return [f"{type(found).__name__} {found.code}"]


def balance(raw: bytes) -> list[str]:
    """Read a balance."""
    usd = Venue(b"", raw).ask(lambda rest: rest.fetch_balance(0))
    return [f"{usd:f}"]


def fee_rate(raw: bytes) -> list[str]:
    """Read a legacy fee rate; nothing computes fees from it (PROTOCOL §2.9)."""
    return [str(optional_decimal(parse_json(raw)["base_fee"], "base_fee"))]


def signed_order(raw: bytes) -> list[str]:
    """Compare the fields of an order with those of ours, but for the signature."""
    ours = unsigned_body(MARKET, REQUEST, LocalSigner(ADDRESS), "key", 1)["order"]
    recorded = parse_json(raw)
    assert {k: type(v) for k, v in recorded.items() if k in ours} == {
        k: type(v) for k, v in ours.items()
    }
    return sorted(recorded.keys() - ours.keys())


def _as_up_or_down(row: dict[str, Any], condition: str, tokens: list[str]) -> Market:
    """Return a market of ours that a recorded Yes/No row speaks of."""
    series, window = Series.parse("btc-updown-15m"), Window(1790586000, 1790586900)
    return Market(row.get("slug", "x"), series, window, row[condition], tokens[0], tokens[1])


def clob_market(raw: bytes) -> list[str]:
    """Read the winner's flag of an engine's market."""
    row = parse_json(raw)
    ours = _as_up_or_down(row, "condition_id", [token["token_id"] for token in row["tokens"]])
    return [str(read_clob_resolution(row, ours))]


def gamma_closed(raw: bytes) -> list[str]:
    """Read the resolution of a closed Yes/No market as if it were Up/Down; nobody trades it."""
    row = parse_json(raw)
    row["outcomes"] = row["outcomes"].replace("Yes", "Up").replace("No", "Down")
    ours = _as_up_or_down(row, "conditionId", parse_json(row["clobTokenIds"].encode()))
    row["slug"] = MARKET.slug
    with pytest.raises(NotTradable) as caught:
        read_market(row, MARKET.series, MARKET.window)
    return [str(read_resolution(row, ours)), caught.value.reason]


def gamma_open(raw: bytes) -> list[str]:
    """Read a market to trade."""
    series = Series.parse("btc-updown-5m")
    found = read_market(parse_json(raw), series, Window(1773307200, 1773307500))
    return [
        f"{found.slug} {found.condition_id[:6]} {found.up_token[:4]} {found.down_token[:4]}",
        f"{found.tick_size} {found.min_size} {found.fees.rate} {found.neg_risk}",
    ]


def rows(reader: Callable[[dict[str, Any]], Any], *fields: str) -> Reader:
    """Return a reader of rows of the records that shows some of their fields."""

    def read(raw: bytes) -> list[str]:
        found = [reader(row) for row in parse_json(raw)]
        return [" ".join(str(getattr(item, field))[:14] for field in fields) for item in found]

    return read


def prices(raw: bytes) -> list[str]:
    """Read a frame of reference prices."""
    found, skipped = rtds(raw)
    return [f"{p.source} {p.asset} {p.value} {p.instant_ms}" for p in found] + list(skipped)


_position = rows(
    read_position, "token", "outcome", "size", "average_price", "current_price", "is_mergeable"
)
_trade = rows(read_trade, "token", "side", "size", "price", "time")

EXPECTED: dict[str, tuple[Reader, list[str]]] = {
    "clob_balance_allowance_old": (balance, ["1000.000000"]),
    "clob_book_2024": (market, ["2336 5x7 1000:125 1400:705 1728799418260"]),
    "clob_cancel_mixed": (cancels, ["0x1111", "0x2222", "0x3333 already canceled or matched"]),
    "clob_cancel_not_canceled": (cancels, ["0xb816 already canceled or matched"]),
    "clob_cancel_ok": (cancels, ["0xb816"]),
    "clob_error_500": (error, ["ExchangeUnavailable server_error"]),
    "clob_fee_rate_string": (fee_rate, ["150"]),
    "clob_fee_rate_zero": (fee_rate, ["0"]),
    "clob_market_closed_accepting_true": (
        clob_market,
        ["Resolution(winner=<Outcome.UP: 'Up'>, source='clob')"],
    ),
    "clob_market_closed_winner": (
        clob_market,
        ["Resolution(winner=<Outcome.DOWN: 'Down'>, source='clob')"],
    ),
    "clob_open_orders_page": (
        orders,
        [
            "0xaaaa PLACEMENT LIVE BUY 0/200.0000 at 0.6000 7132 1703875200000",
            "0xbbbb UPDATE LIVE SELL 50.0000/150.0000 at 0.4000 5211 1703875201000",
        ],
    ),
    "clob_post_order_failed": (placing, ["rejected not_enough_balance"]),
    "clob_post_order_ok_nulls": (placing, ["unknown "]),
    "clob_post_orders_post_only_mode": (placing, ["rejected post_only_mode"]),
    "clob_signed_order_v2": (signed_order, ["signature"]),
    "clob_trade_2024_capture": (
        trades,
        ["0c357886 CONFIRMED 1726043102000 1726043282000: 0x4505 BUY 5 at 0.489 2174 taker"],
    ),
    "clob_trade_two_makers": (
        trades,
        ["trade-0x CONFIRMED 1704067200000 1704067260000: 0x1234 BUY 25.0000 at 0.5000 7132 taker"],
    ),
    "clob_trades_page": (
        trades,
        ["trade-0x MINED 1704067200000 1704067210000: 0x1234 BUY 10.0000 at 0.5000 7132 taker"],
    ),
    "data_v1_positions": (
        _position,
        [
            "71321045863084 Yes 150.5 0.55 0.6 False",
            "99999999999999 Yes 0.0 0.45 0.5 False",
            "88888888888888 Kamala Harris 42.0 0.3 0.4 False",
            "55555555555555 Yes 0.005 0.7 0.8 False",
        ],
    ),
    "data_v1_trades": (
        _trade,
        [
            "71321045863084 BUY 100.0 0.55 1710000000",
            "71321045863084 SELL 50.0 0.53 1709999900",
            "99999999999999 BUY 75.0 0.45 1709999800",
        ],
    ),
    "data_v2_activity": (
        rows(read_activity, "kind", "token", "side", "size", "usd", "time"),
        ["TRADE 98255364887669 BUY 14.285715 13.285715 1788886609"],
    ),
    "data_v2_positions": (_position, ["94476829201604 No 400000.0 0.5 0.7545 True"]),
    "data_v2_resolutions": (
        rows(read_recorded_resolution, "status", "was_disputed", "price", "condition_id"),
        ["resolved False 0 0x02507350fc2b", "posed False None 0x4092815fea8f"],
    ),
    "data_v2_trades": (_trade, ["10062170491639 BUY 78.55 0.62 1788887014"]),
    "gamma_market_btc_updown_5m": (
        gamma_open,
        ["btc-updown-5m-1773307200 0x7844 1042 7118", "0.01 5 0.07 False"],
    ),
    "gamma_market_closed_resolved": (
        gamma_closed,
        ["Resolution(winner=<Outcome.DOWN: 'Down'>, source='gamma')", "closed"],
    ),
    # Closed and priced, but nobody calls it resolved: not final.
    "gamma_market_closed_still_accepting": (gamma_closed, ["None", "closed"]),
    "rtds_crypto_prices_snapshot": (
        prices,
        [
            "binance btc 61164.12 1780726209000",
            "binance btc 61161.07 1780726210000",
            "binance btc 61150.89 1780726211000",
        ],
    ),
    "rtds_crypto_prices_update": (prices, ["binance btc 61035.86000000 1780730269000"]),
    "rtds_twap_thirty_update": (prices, ["unknown_topic:crypto_prices_twap_thirty"]),
    "ws_market_best_bid_ask": (market, ["8535 7300/7700 1766789469958"]),
    "ws_market_book": (market, ["4833 76x86 5110:1304.72 5140:20230.87 1728799418260"]),
    "ws_market_last_trade_price": (market, ["2174 SELL 4910:85.36 1724564136087"]),
    "ws_market_new_market": (market, []),
    "ws_market_price_change_OLD_schema": (market, ["skipped obsolete_price_change"]),
    "ws_market_price_change_both_tokens": (
        market,
        ["1703875201000: 7132 bid 5100:150.0 5100/5200; 5211 ask 4900:100.0 4800/4900"],
    ),
    "ws_market_price_change_mirror_doc": (
        market,
        ["1757908892351: 7132 bid 5000:200 5000/10000; 5211 ask 5000:200 0/5000"],
    ),
    "ws_market_price_change_same_token": (
        market,
        [
            (
                "1729084877448: 5211 bid 6000:3300 6000/7000; 5211 bid 5000:3400 6000/7000; "
                "5211 bid 7000:3400 6000/7000"
            )
        ],
    ),
    "ws_market_resolved": (market, ["0x311d 7604 1766790415550"]),
    "ws_market_tick_size_change": (market, ["1154 10 1739068041853"]),
    "ws_user_order_cancel": (
        user,
        ["0xc6e9 CANCELLATION CANCELED SELL 5/5 at 0.513 2174 1725841743272"],
    ),
    "ws_user_order_doc_2026": (
        user,
        ["0xORDE PLACEMENT LIVE BUY 0/10 at 0.52 1234 1782753357257"],
    ),
    "ws_user_order_fok_killed": (
        user,
        ["0x78xx CANCELLATION CANCELED BUY 0/12 at 0.6 256 1777824065000"],
    ),
    "ws_user_order_matched": (
        user,
        ["0x1234 UPDATE MATCHED BUY 100.0/100.0 at 0.5 7132 1703875201000"],
    ),
    "ws_user_order_placement": (
        user,
        ["0x0f76 PLACEMENT LIVE BUY 0/5 at 0.513 2174 1725842520990"],
    ),
    "ws_user_order_update": (
        user,
        ["0x1234 UPDATE LIVE BUY 25.0/100.0 at 0.5 7132 1703875200500"],
    ),
    "ws_user_order_venue_cancel": (
        user,
        ["0x0e CANCELLATION INVALID BUY 0/20 at 0.53 7132 1774378800285"],
    ),
    "ws_user_trade_doc_2026": (
        user,
        ["TRADE MATCHED 1782753357000 1782753357257: 0xORDE BUY 10 at 0.52 1234 taker"],
    ),
    "ws_user_trade_maker_many": (
        user,
        ["83b5c849 MINED 1725868859000 1725868885871: 0xab67 SELL 5 at 0.518 2174"],
    ),
    "ws_user_trade_maker_two_of_ours": (
        user,
        [
            (
                "83b5c849 CONFIRMED 1762776367000 1762776436000: 0x3ad0 BUY 5 at 0.4 2174; "
                "0x67b5 BUY 5 at 0.3 2174"
            )
        ],
    ),
    "ws_user_trade_taker": (
        user,
        ["f50e8ab2 MATCHED 1725958681000 1725958682125: 0x5b60 BUY 5 at 0.52 2174 taker"],
    ),
}

ELSEWHERE = {"golden_signing_vectors": "test_wallet.py"}
"""Files that another module of tests goes through in full."""


@pytest.mark.parametrize("name", EXPECTED)
def test_a_recorded_message_comes_out_with_its_values(name: str) -> None:
    """What was recorded, or documented by the venue, is understood to the last digit."""
    read, expected = EXPECTED[name]
    assert read(sample(name)) == expected


def test_no_recorded_message_is_left_out() -> None:
    """Every file is in the table, or gone through elsewhere."""
    found = {path.stem for path in SAMPLES.glob("*.json")}
    if not found:
        pytest.skip("the recorded protocol samples are not beside the repository")
    assert found == EXPECTED.keys() | ELSEWHERE.keys()
    for name, module in ELSEWHERE.items():
        assert name in (Path(__file__).parent / module).read_text(encoding="utf-8")
