# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # What a run did: its ledger
#
# A ledger is a SQLite file with every order, fill and refusal of every run. Here one is made first, with two
# strategies at a venue on this machine, so that there is something to look at. Put the path of your own in
# its place.
#
# It needs the extras `venue` and `report` of polyframe.

# %%
import tempfile
from collections import Counter, defaultdict
from decimal import Decimal
from pathlib import Path

import plotly.graph_objects as go
from attrs import define, field

from polyframe import (
    Environment,
    Ledger,
    OrderError,
    Outcome,
    PolymarketExchange,
    PriceChanged,
    RiskLimits,
    ScaledClock,
    Side,
    Strategy,
    Trader,
)
from polyframe.venue import LocalVenue, SyntheticSource

SERIES = "btc-updown-5m"
folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "trades.sqlite"


@define
class Buyer(Strategy):
    """Buys one outcome again and again while it is offered between 20 and 80 cents."""

    outcome: Outcome = Outcome.UP
    orders: int = field(init=False, default=0)

    async def on_price(self, event: PriceChanged) -> None:
        if event.outcome is not self.outcome or event.ask is None or self.orders >= 6:
            return
        if Decimal("0.2") <= event.ask <= Decimal("0.8"):
            self.orders += 1
            try:
                await self.trading.buy(self.outcome, price=event.ask, size=Decimal(10))
            except OrderError as error:
                self.log.info("not bought: %s", error)


clock = ScaledClock(speed=100, start=1_893_456_000)
limits = RiskLimits(max_cycle_notional=Decimal(40))
async with LocalVenue(SyntheticSource(SERIES, seed=7), clock=clock) as venue:
    exchange = PolymarketExchange.local(venue.url, venue.account)
    async with Environment(exchange, clock=clock, ledger=Ledger(path), risk=limits) as env:
        trader = Trader(env)
        trader.add(Buyer(Outcome.UP), on=SERIES, name="up")
        trader.add(Buyer(Outcome.DOWN), on=SERIES, name="down")
        await trader.run(cycles=2)
        await env.settlement.wait_settled()

# %% [markdown]
# ## Cycle by cycle
#
# Amounts are `Decimal`, exactly as they were.

# %%
with Ledger.open(path) as ledger:
    cycles = [entry.record for entry in ledger.cycles()]
    fills = {record.slug: ledger.fills(record.slug) for record in cycles}
    refusals = {record.slug: ledger.refusals(record.slug) for record in cycles}

for record in cycles:
    print(record.slug, record.winner, f"fees {record.fees:.2f}", f"profit {record.profit:+.2f} USD")

# %% [markdown]
# ## Which strategy earned it?
#
# Each fill knows whose it is. A share of the winning outcome pays 1 USD.

# %%
earned: dict[str, dict[str, Decimal]] = defaultdict(lambda: defaultdict(Decimal))
for record in cycles:
    for fill in fills[record.slug]:
        sign = -1 if fill.side is Side.BUY else 1
        payout = fill.size if fill.outcome is record.winner else Decimal(0)
        earned[fill.strategy][record.slug] += sign * (fill.price * fill.size - payout) - fill.fee

figure = go.Figure()
for name, colour in (("up", "#2a7f62"), ("down", "#4a5a70")):
    values = [float(earned[name][record.slug]) for record in cycles]
    figure.add_trace(
        go.Bar(x=[record.slug for record in cycles], y=values, name=name, marker_color=colour)
    )
figure.update_layout(
    title="Profit by cycle and strategy",
    yaxis_title="USD",
    template="plotly_white",
    height=420,
    width=1000,
)
figure

# %% [markdown]
# ## Why did it not trade more?
#
# Refusals have a rule and a sentence with the numbers.

# %%
rules: Counter[str] = Counter()
for found in refusals.values():
    for refusal in found:
        rules[refusal.rule] += refusal.times
bars = go.Figure(
    go.Bar(x=list(rules.values()), y=list(rules), orientation="h", marker_color="#b3423a")
)
bars.update_layout(
    title="Orders that were refused, by rule",
    xaxis_title="times",
    template="plotly_white",
    height=300,
    width=1000,
    margin={"l": 180},
)
bars

# %% [markdown]
# The same is a page with charts: `polyframe report trades.sqlite --html page.html`.

# %%
folder.cleanup()
assert sum(sum(by.values()) for by in earned.values()) == sum(record.profit for record in cycles)
