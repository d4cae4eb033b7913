"""The named parts of a fill model, and how to put them together. Frozen values, all chance seeded."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from math import isfinite
from numbers import Real
from typing import Any, Protocol

from attrs import Attribute, field, frozen

from polyframe.checks import duration_ms, flag, must
from polyframe.errors import ConfigError
from polyframe.paper.queues import Power2, QueueModel


class Chance(Protocol):
    """A source of chance, such as ``random.Random(seed)``."""

    def random(self) -> float:
        """Return a number of at least 0 and below 1."""
        ...


class Latency(Protocol):
    """How long something takes."""

    def sample_ms(self, chance: Chance) -> int:
        """Return one duration in milliseconds."""
        ...


def _to_samples(values: object) -> tuple[int, ...]:
    if not isinstance(values, Iterable) or isinstance(values, str | bytes):
        msg = f"samples_ms: expected a list of whole milliseconds, got {values!r}"
        raise ConfigError(msg)
    return tuple(values)


def _samples(_: object, attribute: Attribute[Any], value: tuple[int, ...]) -> None:
    if not value:
        msg = f"{attribute.name}: expected at least one measured duration"
        raise ConfigError(msg)
    for sample in value:
        duration_ms(None, attribute, sample)


@frozen
class ConstantLatency:
    """Always the same.

    Attributes:
        ms: Milliseconds.

    Raises:
        ConfigError: Not whole milliseconds of at least 0.
    """

    ms: int = field(validator=duration_ms)

    def sample_ms(self, chance: Chance) -> int:  # noqa: ARG002 - leaves nothing to chance
        """Return the duration."""
        return self.ms


@frozen
class EmpiricalLatency:
    """One of the durations that were measured, each as likely as any other.

    Attributes:
        samples_ms: Milliseconds.

    Raises:
        ConfigError: None at all, or not whole milliseconds of at least 0.
    """

    samples_ms: tuple[int, ...] = field(converter=_to_samples, validator=_samples)

    def sample_ms(self, chance: Chance) -> int:
        """Return one of the durations."""
        return self.samples_ms[int(chance.random() * len(self.samples_ms))]


def _is_probability(value: Any) -> bool:
    # What chance says can be compared with a Decimal as well.
    is_number = isinstance(value, Real | Decimal) and not isinstance(value, bool)
    return is_number and bool(isfinite(value) and 0 <= value <= 1)


_probability = must("a probability from 0 to 1", _is_probability)
_seed = must(
    "a number or a text", lambda value: value is None or isinstance(value, Real | Decimal | str)
)
_latency = must(
    "a latency, such as ConstantLatency(250)",
    lambda value: not isinstance(value, type) and hasattr(value, "sample_ms"),
)
_queue = must(
    "a model of queues, such as Power2()",
    lambda value: not isinstance(value, type) and hasattr(value, "join"),
)


@frozen
class PaperModels:
    """What stands between an order and its fills.

    An order that is sent at one instant meets the book that *we* see after both latencies: it arrives
    after the first, and what the book is then reaches us after the second. Answers and reports come
    back on the way of the feed, so they are there at that same instant.

    Attributes:
        order_latency: From us to the matching engine, orders and cancels.
        feed_latency: From the matching engine to us.
        queue: Where a resting order stands.
        taker_delay_ms: How long the venue holds a marketable order (PROTOCOL §2.3).
        mined: From the match to MINED, when shares that were bought can be sold (PROTOCOL §9).
        confirmed: From MINED to CONFIRMED.
        failed: Probability that a trade ends FAILED instead, and is taken back.
        stale_ms: Age from which a book is not traded against any more.
        buys_in_shares: Whether a buy that does not rest and names shares gets no more than these. At
            the venue it spends its price times its size, and gets more where the price is better
            (PROTOCOL §2.8).
        seed: Any text or number; the same seed makes the same fills.

    Raises:
        ConfigError: A value out of its range; names the field.
    """

    order_latency: Latency = field(default=ConstantLatency(60), validator=_latency)
    feed_latency: Latency = field(default=ConstantLatency(40), validator=_latency)
    queue: QueueModel = field(factory=Power2, validator=_queue)
    taker_delay_ms: int = field(default=50, validator=duration_ms)
    mined: Latency = field(default=ConstantLatency(2_000), validator=_latency)
    confirmed: Latency = field(default=ConstantLatency(2_000), validator=_latency)
    failed: float = field(default=0.0, validator=_probability)
    stale_ms: int = field(default=30_000, validator=duration_ms)
    buys_in_shares: bool = field(default=False, validator=flag)
    seed: int | str = field(default=0, validator=_seed)
