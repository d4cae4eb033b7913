"""The calendar: which markets a rolling series has, when they begin and end, how they are named.

Names follow PROTOCOL §1.4. A 5-minute, 15-minute or 4-hour market carries the epoch second of its
start; an hourly or daily one carries a date in New York time, which has two oddities in autumn and
spring (see `Series.window_from_slug`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import frozen
from typing_extensions import override

from polyframe.errors import ConfigError


@frozen(order=True)
class Window:
    """One cycle's span in epoch seconds (UTC): start inclusive, end exclusive.

    Windows are ordered by their start.

    Raises:
        ValueError: The end is not after the start.
    """

    start: int
    end: int

    def __attrs_post_init__(self) -> None:
        if self.end <= self.start:
            msg = f"end: expected a time after the start {self.start}, got {self.end}"
            raise ValueError(msg)

    @property
    def duration(self) -> int:
        """Length in seconds."""
        return self.end - self.start

    def __contains__(self, t: float) -> bool:
        return self.start <= t < self.end


@frozen
class Series:
    """A rolling family of markets, for example ``btc-updown-15m``.

    Attributes:
        asset: The venue's short word for the asset in lower case, for example ``btc``.
        period: ``5m``, ``15m``, ``1h``, ``4h`` or ``1d``.

    Raises:
        ConfigError: Unknown period, an asset that is no lower-case word, or (for ``1h`` and ``1d``)
            a system without time zone data.
    """

    asset: str
    period: str

    PERIODS: ClassVar[tuple[str, ...]] = ("5m", "15m", "1h", "4h", "1d")

    def __attrs_post_init__(self) -> None:
        given: Any = self.asset
        if not isinstance(given, str) or not _ASSET.fullmatch(given):
            msg = f'asset: expected a lower-case word such as "btc" or "eth", got {self.asset!r}'
            raise ConfigError(msg)
        if self.period not in self.PERIODS:
            msg = f"period: expected one of {', '.join(self.PERIODS)}, got {self.period!r}"
            raise ConfigError(msg)
        if self.period not in _EPOCH_PERIODS:
            _new_york()  # a missing zone is an error of the setup, not of the first market

    @classmethod
    def parse(cls, text: object) -> Series:
        """Return the series named ``{asset}-updown-{period}``; upper case and spaces are forgiven.

        Raises:
            ConfigError: Not such a name.
        """
        if isinstance(text, Series):
            return text
        name = text.strip().lower() if isinstance(text, str) else ""
        match = _NAME.fullmatch(name)
        if match is None or match["period"] not in cls.PERIODS:
            msg = (
                f'series: expected "<asset>-updown-<period>" with period {", ".join(cls.PERIODS)}; '
                f'for example "btc-updown-15m" or "eth-updown-1h"; got {text!r}'
            )
            raise ConfigError(msg)
        return cls(match["asset"], match["period"])

    @classmethod
    def from_slug(cls, slug: str, near: float | None = None) -> tuple[Series, Window]:
        """Return the series and the window of the market named `slug`.

        Args:
            slug: Name of a market.
            near: As for `window_from_slug`.

        Raises:
            ValueError: Not the name of an up-or-down market, or not on its series' grid.
        """
        if match := _EPOCH_SLUG.fullmatch(slug):
            series = cls(match["asset"], match["period"])
        elif match := _HOUR_SLUG.fullmatch(slug):
            series = cls(_asset(match["name"]), "1h")
        elif match := _DAY_SLUG.fullmatch(slug):
            series = cls(_asset(match["name"]), "1d")
        else:
            msg = f'slug: expected a market name such as "btc-updown-15m-1790586000", got {slug!r}'
            raise ValueError(msg)
        return series, series.window_from_slug(slug, near)

    @override
    def __str__(self) -> str:
        return f"{self.asset}-updown-{self.period}"

    def window_at(self, t: float) -> Window:
        """Return the window that contains epoch second `t`.

        5 minutes to 4 hours lie on multiples of their length since the epoch (New York is a whole
        number of hours away from UTC, so its hours begin together with ours). The protocol notes
        leave open whether the venue moves 4-hour windows in winter; the exchange refuses a market
        whose own times disagree with the window.
        """
        seconds = _SECONDS.get(self.period)
        if seconds is not None:
            start = int(t // seconds) * seconds
            return Window(start, start + seconds)
        day = datetime.fromtimestamp(t, _new_york()).date()
        window = daily_window(day)
        return window if t < window.end else daily_window(day + _DAY)

    def next(self, window: Window) -> Window:
        """Return the window that follows `window` without a gap."""
        return self.window_at(window.end)

    def windows(self, t: float, n: int) -> list[Window]:
        """Return `n` windows in order: the one that contains `t`, and those that follow."""
        found: list[Window] = []
        for _ in range(n):
            found.append(self.window_at(found[-1].end if found else t))
        return found

    def slug(self, window: Window) -> str:
        """Return the venue's name of the market of `window`.

        The two windows of the hour that New York repeats in autumn have the same name.

        Raises:
            ValueError: `window` is not a window of this series.
        """
        if window != self.window_at(window.start):
            msg = f"window: {window.start} to {window.end} is not a window of {self}"
            raise ValueError(msg)
        if self.period in _EPOCH_PERIODS:
            return f"{self}-{window.start}"
        name = _FULL_NAMES.get(self.asset, self.asset)
        if self.period == "1d":
            end = datetime.fromtimestamp(window.end, _new_york())
            return f"{name}-up-or-down-on-{_MONTHS[end.month - 1]}-{end.day}-{end.year}"
        start = datetime.fromtimestamp(window.start, _new_york())
        hour, half = start.hour % 12 or 12, "pm" if start.hour >= 12 else "am"
        month = _MONTHS[start.month - 1]
        return f"{name}-up-or-down-{month}-{start.day}-{start.year}-{hour}{half}-et"

    def window_from_slug(self, slug: str, near: float | None = None) -> Window:
        """Return the window of the market named `slug`.

        Two names stand for more than one window, and `near` decides which is meant: an hourly or
        daily name of the older form without a year (the closest one), and the name of the hour
        that New York repeats when summer time ends (the one that contains `near`, else the closer
        one). Without `near` the repeated hour is the first of the two.

        Args:
            slug: Name of a market of this series.
            near: Epoch seconds of a moment not far from the window.

        Raises:
            ValueError: Not a market of this series, not on its grid, no such date or hour, or a
                name without a year and no `near`.
        """
        candidates = self._candidates(slug, near)
        if not candidates:
            msg = f"slug: {slug!r} is not a market of {self}"
            raise ValueError(msg)
        if near is None:
            return candidates[0]
        return min(candidates, key=lambda window: (near not in window, abs(window.start - near)))

    def _candidates(self, slug: str, near: float | None) -> list[Window]:
        if self.period in _EPOCH_PERIODS:
            match = _EPOCH_SLUG.fullmatch(slug)
            if match is None or f"{match['asset']}-updown-{match['period']}" != str(self):
                return []
            start = int(match["epoch"])
            return [window for window in (self.window_at(start),) if window.start == start]
        match = (_DAY_SLUG if self.period == "1d" else _HOUR_SLUG).fullmatch(slug)
        if match is None or _asset(match["name"]) != self.asset:
            return []
        days = _days(match, near)
        if self.period == "1d":
            return [daily_window(day) for day in days]
        hour = int(match["hour"]) % 12 + (12 if match["half"] == "pm" else 0)
        return [window for day in days for window in _hourly_windows(day, hour)]


def daily_window(day: date) -> Window:
    """Return the window of the daily market that is named after `day`.

    It runs from noon in New York on the day before to noon on `day`: the market compares the price
    at these two moments. It is 23 or 25 hours long where summer time begins or ends in between.
    """
    start, end = (
        datetime.combine(noon, time(12), _new_york()).timestamp() for noon in (day - _DAY, day)
    )
    return Window(int(start), int(end))


def _hourly_windows(day: date, hour: int) -> Iterable[Window]:
    """Yield the windows that begin at `hour` in New York: none in spring, two in autumn."""
    starts = dict.fromkeys(
        int(datetime.combine(day, time(hour, fold=fold), _new_york()).timestamp())
        for fold in (0, 1)
    )
    for start in starts:
        if datetime.fromtimestamp(start, _new_york()).hour == hour:
            yield Window(start, start + 3600)


def _days(match: re.Match[str], near: float | None) -> list[date]:
    """Return the dates that a name may stand for; empty if there is no such date."""
    if match["month"] not in _MONTHS:
        return []
    if match["year"]:
        years = range(int(match["year"]), int(match["year"]) + 1)
    elif near is None:
        msg = f"slug: {match[0]!r} has no year; say near which time it is meant"
        raise ValueError(msg)
    else:
        year = datetime.fromtimestamp(near, UTC).year
        years = range(year - 4, year + 5)  # wide enough for 29 February
    days: list[date] = []
    for year in years:
        try:
            days.append(date(year, _MONTHS.index(match["month"]) + 1, int(match["day"])))
        except ValueError:
            continue  # 29 February of a common year, 31 June
    return days


def _asset(full_name: str) -> str:
    return _SHORT_NAMES.get(full_name, full_name)


@cache
def _new_york() -> ZoneInfo:
    try:
        return ZoneInfo("America/New_York")
    except ZoneInfoNotFoundError:
        msg = (
            "time zone America/New_York: hourly and daily series need it and this system has no "
            "time zone data; install the system's tzdata package, or `pip install tzdata`"
        )
        raise ConfigError(msg) from None


_DAY = timedelta(days=1)
_SECONDS = {"5m": 300, "15m": 900, "1h": 3600, "4h": 14_400}
_EPOCH_PERIODS = frozenset({"5m", "15m", "4h"})
"""Periods whose slugs carry the epoch second of the window's start."""

_FULL_NAMES = {
    "bnb": "bnb",
    "btc": "bitcoin",
    "doge": "dogecoin",
    "eth": "ethereum",
    "hype": "hyperliquid",
    "sol": "solana",
    "xrp": "xrp",
    "zec": "zcash",
}
"""Words for an asset in hourly and daily slugs; an asset that is not listed uses its own."""
_SHORT_NAMES = {full: short for short, full in _FULL_NAMES.items()}

_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)

_ASSET = re.compile(r"[a-z0-9]+")
_NAME = re.compile(r"(?P<asset>[a-z0-9]+)-updown-(?P<period>[a-z0-9]+)")
_EPOCH_SLUG = re.compile(
    r"(?P<asset>[a-z0-9]+)-updown-(?P<period>5m|15m|4h)-(?P<epoch>0|[1-9][0-9]{0,11})"
)
_DATE = r"(?P<month>[a-z]+)-(?P<day>[1-9][0-9]?)(?:-(?P<year>[1-9][0-9]{3}))?"
_HOUR_SLUG = re.compile(
    rf"(?P<name>[a-z0-9]+)-up-or-down-{_DATE}-(?P<hour>1[0-2]|[1-9])(?P<half>am|pm)-et"
)
_DAY_SLUG = re.compile(rf"(?P<name>[a-z0-9]+)-up-or-down-on-{_DATE}")
