"""`sweep`: one strategy with many settings on the same markets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from polyframe.backtest.progress import Tell
from polyframe.backtest.sweeps.engine import Engine, Means, chunks
from polyframe.backtest.sweeps.result import RESULT_FILE, SweepResult
from polyframe.backtest.sweeps.samplers import Sampler
from polyframe.backtest.sweeps.task import SweepOptions
from polyframe.backtest.sweeps.variantresult import VariantResult, variant_result
from polyframe.backtest.sweeps.variants import Settings, Variant, label, make_variants, template_of
from polyframe.errors import ConfigError
from polyframe.model.exact import exactly
from polyframe.recording.reader import Recording
from polyframe.recording.tape import TapeMarket
from polyframe.strategy import Strategy


@exactly()
def sweep(
    strategy: type[Strategy] | Strategy,
    variants: Iterable[Mapping[str, Any] | Strategy] | Sampler,
    *,
    data: Recording,
    executor: Executor | None = None,
    workers: int | None = None,
    folder: str | Path | None = None,
    chunk: int | None = None,
    progress: bool | Tell | None = None,
    retry_failed: bool = False,
    **options: Unpack[SweepOptions],
) -> SweepResult:
    """Run a strategy with many settings on the same markets.

    Blocks until all is done. Ctrl-C ends the workers; what was finished is in `folder`, and the same
    call goes on from there.

    Args:
        strategy: A class with defaults, or an object whose settings are kept where they are not
            varied.
        variants: What to try: settings by name (see `grid`), objects of the class, or a sampler.
        data: The markets. It is sent to workers as what it was opened from.
        executor: Runs the tasks, for example ``client.get_executor()`` of a Dask client; processes
            of this machine by default.
        workers: How many processes of this machine; as many as there are cores by default.
        folder: Keeps the results of finished tasks; without it nothing is kept.
        chunk: Markets a task; all by default. Each chunk begins with its own account.
        progress: A callable that takes `Progress`, ``False`` for nothing, ``True`` for a bar; by
            default a bar on a terminal.
        retry_failed: Try again what failed in an earlier run.
        options: Of the back-tests, see `SweepOptions`.

    Raises:
        ConfigError: A setting or option that cannot be; or workers cannot begin.
        StrategyDefinitionError: The class would leak state between cycles.
        BrokenExecutor: `executor` cannot go on.
        OSError: The folder's disk is full.
    """
    template = template_of(strategy)
    means = Means(
        executor=executor,
        workers=workers,
        folder=folder,
        progress=progress,
        retry_failed=retry_failed,
    )
    with Engine(data, means, options) as engine:
        parts = chunks(engine.markets, chunk)
        if isinstance(variants, Sampler):
            results = _sampled(engine, template, variants, parts)
        else:
            results = run_variants(engine, make_variants(template, variants), parts)
        found = SweepResult(
            type(template).__name__,
            tuple(results),
            tuple(tape.market.slug for tape in engine.markets),
        )
        engine.write(RESULT_FILE, found.encoded())
    return found


def run_variants(
    engine: Engine,
    variants: Iterable[Variant],
    parts: tuple[tuple[TapeMarket, ...], ...],
    first: int = 0,
) -> list[VariantResult]:
    """Run variants on chunks of markets and return what each came to; numbers begin at `first`.

    Raises:
        ConfigError, BrokenExecutor, OSError: As `Engine.run`.
    """
    chosen = list(variants)
    found = iter(engine.run([(variant, part) for variant in chosen for part in parts]))
    return [
        variant_result(number, variant.settings, [next(found) for _ in parts])
        for number, variant in enumerate(chosen, first)
    ]


def _sampled(
    engine: Engine,
    template: Strategy,
    sampler: Sampler,
    parts: tuple[tuple[TapeMarket, ...], ...],
) -> list[VariantResult]:
    """Try what a sampler asks for, round after round; what it asks for again is not run again."""
    results: dict[str, VariantResult] = {}
    while asked := list(sampler.ask()):
        new: dict[str, Settings] = {}
        for settings in asked:
            if (name := label(settings)) not in results:
                new.setdefault(name, settings)
        if new:
            variants = make_variants(template, new.values())
            for result in run_variants(engine, variants, parts, len(results)):
                results[result.label] = result
        sampler.tell([results[label(settings)] for settings in asked])
    if not results:
        msg = "variants: the sampler asked for nothing"
        raise ConfigError(msg)
    return list(results.values())
