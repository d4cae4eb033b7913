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
# # Resting orders under several fill models
#
# Nobody knows where in a queue an order stood: a recording shows sizes and trades, not who stands where. So
# the same strategy is run under four models of the queue. What holds under the optimist only is nothing.
#
# | model | of a cancel, the part that stood before us |
# |---|---|
# | `CancelsBehind` | none, as long as anybody stands behind us: the pessimist |
# | `Power2` | before² / (before² + behind²), the default |
# | `ProRata` | before / (before + behind) |
# | `Touch` | there is no queue: the optimist |
#
# It needs the extra `report` of polyframe.

# %%
from decimal import Decimal

import plotly.graph_objects as go
from attrs import define, field
from plotly.subplots import make_subplots

from polyframe import (
    CancelsBehind,
    OrderError,
    Outcome,
    PaperModels,
    Power2,
    PriceChanged,
    ProRata,
    Strategy,
    Touch,
)
from polyframe.backtest import backtest
from polyframe.testing.regimes import Regime, RegimeMarkets


@define
class BestBid(Strategy):
    """Rests at the best bid of both outcomes for twenty seconds, and holds what it gets."""

    size: Decimal = Decimal(20)
    bids: set[Outcome] = field(init=False, factory=set)

    async def on_price(self, event: PriceChanged) -> None:
        if event.outcome in self.bids or event.bid is None:
            return
        if Decimal("0.2") <= event.bid <= Decimal("0.8"):
            self.bids.add(event.outcome)
            try:
                await self.trading.buy(
                    event.outcome, price=event.bid, size=self.size, post_only=True
                )
            except OrderError as error:
                self.log.info("no bid: %s", error)

    async def run(self) -> None:
        await self.clock.sleep(20)
        await self.trading.cancel_all()


# %%
markets = RegimeMarkets(Regime.RANGE, cycles=12, seed=2, series="btc-updown-5m")
reports = {}
for queue in (CancelsBehind(), Power2(), ProRata(), Touch()):
    reports[queue.name] = await backtest(BestBid(), data=markets, models=PaperModels(queue=queue))

for name, report in reports.items():
    total = report.total
    print(f"{name:10} {total.fills} fills, {total.shares} shares, profit {total.profit:+.2f} USD")

# %% [markdown]
# ## Shares and profit
#
# More fills are not more profit: what one gets first is what others want to be rid of.

# %%
names = list(reports)
figure = make_subplots(rows=1, cols=2, subplot_titles=("Shares that were filled", "Profit, USD"))
shares = [float(report.total.shares) for report in reports.values()]
profits = [float(report.total.profit or 0) for report in reports.values()]
figure.add_trace(go.Bar(x=names, y=shares, marker_color="#4a5a70", showlegend=False), row=1, col=1)
colours = ["#2a7f62" if profit >= 0 else "#b3423a" for profit in profits]
figure.add_trace(go.Bar(x=names, y=profits, marker_color=colours, showlegend=False), row=1, col=2)
figure.update_layout(
    title="BestBid under four models of the queue", template="plotly_white", height=440, width=1000
)
figure

# %% [markdown]
# `run_bracket` of `polyframe.backtest` runs the first three in one call.

# %%
assert shares[0] <= shares[1] <= shares[3]
assert shares[2] <= shares[3]
