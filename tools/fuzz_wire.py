"""Feed the decoders of the wire with what a coverage-guided fuzzer thinks of.

Needs atheris (``pip install atheris``) in an environment that has polyframe. Stops at the first input that
makes a decoder raise, and prints it::

    python tools/fuzz_wire.py -max_total_time=60
"""

from __future__ import annotations

import logging
import sys

try:
    import atheris
except ModuleNotFoundError as missing:
    if missing.name != "atheris":
        raise
    print(__doc__)
    sys.exit(0 if "--help" in sys.argv else "atheris: it is not installed")

with atheris.instrument_imports(include=["polyframe.exchange.polymarket"]):
    from polyframe.counters import Counters
    from polyframe.exchange.polymarket.answers import cancel_answer, named_ids, place_answers
    from polyframe.exchange.polymarket.datarecords import (
        read_activity,
        read_position,
        read_recorded_resolution,
        read_rows,
        read_trade,
    )
    from polyframe.exchange.polymarket.gamma import (
        NotTradable,
        read_market,
        read_price_record,
        read_resolution,
    )
    from polyframe.exchange.polymarket.marketdata import read_rules
    from polyframe.exchange.polymarket.refusals import error_of
    from polyframe.exchange.polymarket.wire import Skips, parse_json
    from polyframe.exchange.polymarket.wire_market import MarketDecoder
    from polyframe.exchange.polymarket.wire_reference import LiveDecoder, RtdsDecoder
    from polyframe.exchange.polymarket.wire_user import UserDecoder

from polyframe.model.market import Market
from polyframe.model.series import Series

SERIES = Series("btc", "5m")
WINDOW = SERIES.window_at(1_773_307_200)
MARKET = Market(SERIES.slug(WINDOW), SERIES, WINDOW, "0x1", "11", "12")


def rows(value: object, skips: Skips) -> None:
    """Read a value as a row of everything that comes in rows."""
    for reader in (read_position, read_trade, read_activity, read_recorded_resolution):
        read_rows([value], reader, "row", skips)
    cancel_answer(value, named_ids(value))
    read_price_record(value, MARKET.slug)
    read_resolution(value, MARKET)
    try:
        read_market(value, SERIES, WINDOW)
        read_rules(value)
    except (NotTradable, ValueError):
        pass


def one_input(data: bytes) -> None:
    """Give one input to every decoder; an exception that leaves one is a finding."""
    skips = Skips(Counters())
    MarketDecoder(skips).decode(data)
    UserDecoder(skips, "key", {"0x2"}).decode(data)
    RtdsDecoder(skips).decode(data)
    LiveDecoder(skips).decode(data)
    place_answers(200, data, ["0x1", "0x2"])
    error_of(503, data, "POST /order", None)
    try:
        value = parse_json(data)
    except ValueError:
        return
    rows(value, skips)


def main() -> None:
    """Run until a time limit or a finding."""
    logging.disable(logging.CRITICAL)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
