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
# # A back-test, and what it earned
#
# A strategy is run on made-up markets of two kinds, and its profit is drawn cycle by cycle. In a notebook an
# event loop runs already, so the call is `await backtest(...)`; everything else is as in a script.
#
# It needs the extra `report` of polyframe.

# %%
from datetime import UTC, datetime
from decimal import Decimal
from itertools import accumulate

import plotly.graph_objects as go
from attrs import define, field

from polyframe import OrderError, OrderType, PriceChanged, Strategy
from polyframe.backtest import backtest
from polyframe.testing.regimes import Regime, RegimeMarkets


@define
class Favourite(Strategy):
    """Buys what is offered at `trigger` or above in the second half of the window, and holds it."""

    trigger: Decimal = Decimal("0.70")
    limit: Decimal = Decimal("0.90")
    size: Decimal = Decimal(20)
    has_bought: bool = field(init=False, default=False)

    async def on_price(self, event: PriceChanged) -> None:
        if self.has_bought or event.ask is None or self.seconds_left() > 150:
            return
        if self.trigger <= event.ask <= self.limit:
            self.has_bought = True
            try:
                await self.trading.buy(
                    event.outcome, price=self.limit, size=self.size, order_type=OrderType.FAK
                )
            except OrderError as error:
                self.log.info("not bought: %s", error)


# %% [markdown]
# ## Run it
#
# Fifteen cycles of five minutes where the price has a trend, and fifteen where it swings.

# %%
reports = {}
for regime in (Regime.TREND, Regime.RANGE):
    markets = RegimeMarkets(regime, cycles=15, seed=1, series="btc-updown-5m")
    reports[regime.value] = await backtest(Favourite(), data=markets)

for name, report in reports.items():
    total = report.total
    print(
        f"{name}: {total.trades} trades, fees {total.fees:.2f} USD, profit {total.profit:+.2f} USD"
    )

# %% [markdown]
# ## The sum of the profit

# %%
figure = go.Figure()
for name, colour in (("trend", "#2a7f62"), ("range", "#b3423a")):
    cycles = reports[name].cycles
    times = [datetime.fromtimestamp(cycle.start, UTC) for cycle in cycles]
    profits = [float(cycle.figures.profit or 0) for cycle in cycles]
    figure.add_trace(
        go.Bar(x=times, y=profits, name=f"{name}: cycle", marker_color=colour, opacity=0.35)
    )
    line = go.Scatter(
        x=times, y=list(accumulate(profits)), name=f"{name}: sum", line={"color": colour}
    )
    figure.add_trace(line)
figure.update_layout(
    title="Favourite: profit by cycle, and in sum",
    yaxis_title="USD",
    template="plotly_white",
    height=480,
    width=1000,
    barmode="group",
)
figure

# %% [markdown]
# ## What the orders paid
#
# Each dot is a trade: the price that was paid, and what it came to.

# %%
scatter = go.Figure()
for name, colour in (("trend", "#2a7f62"), ("range", "#b3423a")):
    trades = reports[name].trades
    scatter.add_trace(
        go.Scatter(
            x=[float(trade.value / trade.size) for trade in trades],
            y=[float(trade.result or 0) for trade in trades],
            mode="markers",
            name=name,
            marker={"color": colour, "size": 9},
        )
    )
scatter.update_layout(
    title="What was paid for a share, and what the trade earned",
    xaxis_title="USD a share",
    yaxis_title="USD",
    template="plotly_white",
    height=420,
    width=1000,
)
scatter

# %% [markdown]
# Made-up markets say nothing about real ones: what they are good for is to see *how* a strategy earns and
# loses. See docs/backtest.md for how far to believe a back-test of recorded markets.

# %%
assert all(len(report.cycles) == 15 for report in reports.values())
assert sum(report.total.trades for report in reports.values()) > 5
