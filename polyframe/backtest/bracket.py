"""The same run under the queue models between which the truth is likely to be."""

from __future__ import annotations

from attrs import evolve
from typing_extensions import Unpack

from polyframe.backtest.run import Options, run_backtest, telling_once
from polyframe.paper.models import PaperModels
from polyframe.paper.queues import CancelsBehind, ProRata
from polyframe.recording.reader import Recording
from polyframe.report.values import Report
from polyframe.strategy import Strategy


@telling_once()
def run_bracket(
    *strategies: Strategy, data: Recording, **options: Unpack[Options]
) -> dict[str, Report]:
    """Run a back-test with three queue models; a result that holds in one only is none.

    Nobody can know where in a queue an order stood. Everything else is the same in the three runs.

    Args:
        strategies: As for `run_backtest`.
        data: The markets.
        options: As for `run_backtest`.

    Returns:
        By name of the model: ``"behind"`` (every cancel was behind us: too few fills), the model of
        ``options["models"]``, and ``"pro-rata"`` (cancels all over the queue). Each has all three in
        its ``bracket``, so that whoever reads one sees the others beside it.

    Raises:
        ConfigError, StrategyFailed: As `run_backtest`.
    """
    models = options.get("models") or PaperModels()
    reports = {}
    for queue in (CancelsBehind(), models.queue, ProRata()):
        options["models"] = evolve(models, queue=queue)
        reports[queue.name] = run_backtest(*strategies, data=data, **options)
    return {name: report.with_bracket(reports) for name, report in reports.items()}
