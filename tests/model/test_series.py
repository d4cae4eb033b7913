"""The calendar of a rolling series."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyframe.errors import ConfigError
from polyframe.model import series as series_module
from polyframe.model.series import Series, Window, daily_window

HOUR = 3600
NEW_YORK = ZoneInfo("America/New_York")

# 1 Jan 2020 to 1 Jan 2035: thirty changes of New York's clocks.
times = st.integers(1_577_836_800, 2_051_222_400)
all_series = st.builds(
    Series, st.sampled_from(["btc", "eth", "sol", "pepe"]), st.sampled_from(Series.PERIODS)
)


def at(text: str) -> int:
    """Return the epoch second of an ISO time, UTC unless it says otherwise."""
    moment = datetime.fromisoformat(text)
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


# The repeated hour of 2026: clocks go back on 1 November, 2am EDT = 1am EST.
FIRST_1AM = at("2026-11-01T05:00")
SECOND_1AM = at("2026-11-01T06:00")


class TestWindow:
    def test_start_is_inside_and_end_is_not(self) -> None:
        """A window contains its start and every moment before its end, fractions included."""
        window = Window(900, 1800)
        assert 900 in window
        assert 1799.999 in window
        assert 1800 not in window
        assert 899.999 not in window

    def test_duration(self) -> None:
        """The duration is in seconds."""
        assert Window(900, 1800).duration == 900

    def test_order(self) -> None:
        """Windows sort by their start."""
        early, late = Window(0, 10), Window(10, 20)
        assert sorted([late, early]) == [early, late]

    @pytest.mark.parametrize("end", [10, 9])
    def test_empty_or_reversed(self, end: int) -> None:
        """A window that does not last is refused by name."""
        with pytest.raises(ValueError, match="end"):
            Window(10, end)


class TestParse:
    @pytest.mark.parametrize("period", Series.PERIODS)
    def test_text_comes_back(self, period: str) -> None:
        """Each period of the venue is known, and the text of a series is what was parsed."""
        series = Series.parse(f"btc-updown-{period}")
        assert series == Series("btc", period)
        assert str(series) == f"btc-updown-{period}"

    def test_case_and_spaces(self) -> None:
        """Upper case and spaces around the name are forgiven."""
        assert Series.parse(" BTC-UpDown-15M\n") == Series("btc", "15m")

    def test_series_passes(self) -> None:
        """A series is its own parse."""
        series = Series("eth", "1h")
        assert Series.parse(series) is series

    @pytest.mark.parametrize(
        "text",
        ["", "btc", "btc-15m", "btc-updown-7m", "btc-updown-", "-updown-5m", "btc-updown-5m-300",
         "b tc-updown-5m", "btc-updown-5m-", "btc_updown_5m", "ｂtc-updown-5m", 15, None],
    )  # fmt: skip
    def test_anything_else(self, text: object) -> None:
        """What is no series raises an error with the field, the form, an example and the value."""
        with pytest.raises(ConfigError, match=r'series: .*"btc-updown-15m"') as error:
            Series.parse(text)
        assert repr(text) in str(error.value)

    @pytest.mark.parametrize(
        ("asset", "period", "field"), [("BTC", "5m", "asset"), ("", "5m", "asset"),
                                       ("btc", "2h", "period")],
    )  # fmt: skip
    def test_fields_are_checked(self, asset: str, period: str, field: str) -> None:
        """A series made without `parse` is checked as well."""
        with pytest.raises(ConfigError, match=f"{field}: "):
            Series(asset, period)

    @pytest.mark.parametrize("period", ["1h", "1d"])
    def test_missing_zone(self, period: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without time zone data, a series that needs it says at once what to install."""

        def no_zone(key: str) -> ZoneInfo:
            raise ZoneInfoNotFoundError(key)

        monkeypatch.setattr(series_module, "ZoneInfo", no_zone)
        series_module._new_york.cache_clear()
        Series("btc", "15m")
        with pytest.raises(ConfigError, match="tzdata"):
            Series("btc", period)


class TestGrid:
    def test_recorded_window(self) -> None:
        """The recorded 5-minute market of 12 March 2026 starts at 09:20 UTC."""
        window = Series("btc", "5m").window_at(at("2026-03-12T09:22:33"))
        assert window == Window(1773307200, 1773307500)
        assert window.start == at("2026-03-12T09:20:00Z")

    @given(all_series, times, st.floats(0, 0.999))
    def test_contains(self, series: Series, t: int, fraction: float) -> None:
        """The window at a time contains it."""
        assert t + fraction in series.window_at(t + fraction)

    @given(all_series, times)
    def test_idempotent(self, series: Series, t: int) -> None:
        """Every moment of a window leads to the same window."""
        window = series.window_at(t)
        assert series.window_at(window.start) == window
        assert series.window_at(window.end - 0.001) == window

    @given(all_series, times)
    def test_tiles(self, series: Series, t: int) -> None:
        """Windows follow each other without gap or overlap."""
        window = series.window_at(t)
        following = series.next(window)
        assert following.start == window.end
        assert series.window_at(window.start - 0.001).end == window.start
        assert series.windows(t, 3) == [window, following, series.next(following)]

    def test_no_windows(self) -> None:
        """No windows are asked, none come."""
        assert Series("btc", "5m").windows(0, 0) == []

    @pytest.mark.parametrize(
        ("period", "seconds"), [("5m", 300), ("15m", 900), ("1h", HOUR), ("4h", 4 * HOUR)]
    )
    def test_lengths(self, period: str, seconds: int) -> None:
        """All windows but daily ones have the same length on every day of ten years."""
        series = Series("btc", period)
        for t in range(at("2024-01-01"), at("2034-01-01"), 43_200):
            window = series.window_at(t)
            assert window.duration == seconds
            assert window.start % seconds == 0

    def test_days_of_many_years(self) -> None:
        """Daily windows tile ten years from noon to noon and are 23 or 25 hours at each change."""
        series = Series("btc", "1d")
        windows = series.windows(at("2024-01-01"), 3653)
        for window, following in pairwise(windows):
            assert window.end == following.start
            assert datetime.fromtimestamp(window.end, NEW_YORK).hour == 12
        odd = [window.duration // HOUR for window in windows if window.duration != 24 * HOUR]
        assert odd == [23, 25] * 10

    def test_day_is_named_after_its_end(self) -> None:
        """The daily market of a day ends at noon in New York on that day, in summer 16:00 UTC."""
        assert daily_window(date(2026, 5, 28)) == Window(
            at("2026-05-27T16:00"), at("2026-05-28T16:00")
        )
        assert daily_window(date(2026, 1, 15)) == Window(
            at("2026-01-14T17:00"), at("2026-01-15T17:00")
        )


class TestSlug:
    @pytest.mark.parametrize(
        ("series", "start", "slug"),
        [
            ("btc-updown-5m", "2026-03-12T09:20", "btc-updown-5m-1773307200"),
            ("btc-updown-15m", "2026-09-28T09:00", "btc-updown-15m-1790586000"),
            ("eth-updown-4h", "2026-08-20T16:00", "eth-updown-4h-1787241600"),
            ("btc-updown-1h", "2026-08-20T16:00", "bitcoin-up-or-down-august-20-2026-12pm-et"),
            ("btc-updown-1h", "2026-08-20T04:00", "bitcoin-up-or-down-august-20-2026-12am-et"),
            ("sol-updown-1h", "2026-01-05T14:00", "solana-up-or-down-january-5-2026-9am-et"),
            ("doge-updown-1h", "2026-01-05T04:00", "dogecoin-up-or-down-january-4-2026-11pm-et"),
            ("eth-updown-1d", "2026-05-27T16:00", "ethereum-up-or-down-on-may-28-2026"),
            ("hype-updown-1d", "2025-12-31T17:00", "hyperliquid-up-or-down-on-january-1-2026"),
            ("pepe-updown-1d", "2026-05-27T16:00", "pepe-up-or-down-on-may-28-2026"),
        ],
    )
    def test_examples(self, series: str, start: str, slug: str) -> None:
        """Markets have the names that the venue uses, and the names lead back."""
        parsed = Series.parse(series)
        window = parsed.window_at(at(start))
        assert window.start == at(start)
        assert parsed.slug(window) == slug
        assert parsed.window_from_slug(slug) == window
        assert Series.from_slug(slug) == (parsed, window)

    @given(all_series, times)
    def test_round_trip(self, series: Series, t: int) -> None:
        """Every name leads back to its window when the time of the window is the hint."""
        window = series.window_at(t)
        slug = series.slug(window)
        assert series.window_from_slug(slug, near=window.start) == window
        assert Series.from_slug(slug, near=window.start) == (series, window)

    @given(all_series, times)
    def test_round_trip_without_hint(self, series: Series, t: int) -> None:
        """Without a hint only the second of two equal hours leads elsewhere: to the first."""
        window = series.window_at(t)
        found = series.window_from_slug(series.slug(window))
        twin = Window(window.start - HOUR, window.start) if series.period == "1h" else None
        if twin is not None and series.slug(twin) == series.slug(window):
            assert found == twin
        else:
            assert found == window

    @pytest.mark.parametrize(
        ("series", "slug"),
        [
            ("btc-updown-5m", "eth-updown-5m-1773307200"),  # another asset
            ("btc-updown-5m", "btc-updown-15m-1773306900"),  # another period
            ("btc-updown-5m", "btc-updown-5m-1773307201"),  # off the grid
            ("btc-updown-15m", "btc-updown-15m-1773307200"),  # on the grid of 5m only
            ("btc-updown-5m", "btc-updown-5m-"),
            ("btc-updown-5m", "btc-updown-5m-01773307200"),
            ("btc-updown-5m", "btc-updown-5m--300"),
            ("btc-updown-5m", "btc-updown-5m-9" + "0" * 40),
            ("btc-updown-5m", "bitcoin-up-or-down-august-20-2026-12pm-et"),
            ("btc-updown-1h", "btc-updown-1h-1773306000"),
            ("btc-updown-1h", "ethereum-up-or-down-august-20-2026-12pm-et"),
            ("btc-updown-1h", "btc-up-or-down-on-august-20-2026"),
            ("btc-updown-1h", "bitcoin-up-or-down-august-20-2026-13pm-et"),
            ("btc-updown-1h", "bitcoin-up-or-down-august-20-2026-0am-et"),
            ("btc-updown-1h", "bitcoin-up-or-down-august-20-2026-12pm-pt"),
            ("btc-updown-1h", "bitcoin-up-or-down-june-31-2026-12pm-et"),
            ("btc-updown-1h", "bitcoin-up-or-down-brumaire-2-2026-12pm-et"),
            ("btc-updown-1h", "bitcoin-up-or-down-march-8-2026-2am-et"),  # clocks skip it
            ("btc-updown-1d", "bitcoin-up-or-down-on-february-29-2026"),
            ("btc-updown-1d", "bitcoin-up-or-down-on-may-28-0026"),
            ("btc-updown-1d", "bitcoin-up-or-down-august-20-2026-12pm-et"),
        ],
    )
    def test_not_a_market_of_the_series(self, series: str, slug: str) -> None:
        """A name of another series, off the grid, or of a date or hour that is none is refused."""
        with pytest.raises(ValueError, match="slug"):
            Series.parse(series).window_from_slug(slug)

    @pytest.mark.parametrize("slug", ["", "will-it-rain", "btc-updown-7m-300", "btc-updown-1d-0"])
    def test_not_a_slug(self, slug: str) -> None:
        """A name that no series has is refused."""
        with pytest.raises(ValueError, match="slug"):
            Series.from_slug(slug)

    def test_foreign_window(self) -> None:
        """A window that is not on the grid of the series has no name in it."""
        with pytest.raises(ValueError, match="window"):
            Series("btc", "15m").slug(Window(1773307200, 1773307500))
        with pytest.raises(ValueError, match="window"):
            Series("btc", "15m").slug(Window(1773306901, 1773307801))


class TestClockChanges:
    def test_repeated_hour_has_one_name(self) -> None:
        """Both 1am windows of the autumn night are real windows with the same name."""
        series = Series("btc", "1h")
        first, second = series.windows(FIRST_1AM, 2)
        assert (first.start, second.start) == (FIRST_1AM, SECOND_1AM)
        assert first.duration == second.duration == HOUR
        slug = "bitcoin-up-or-down-november-1-2026-1am-et"
        assert series.slug(first) == series.slug(second) == slug

    @pytest.mark.parametrize(
        ("near", "start"),
        [
            (None, FIRST_1AM),
            (FIRST_1AM - 86_400, FIRST_1AM),
            (FIRST_1AM, FIRST_1AM),
            (SECOND_1AM - 1, FIRST_1AM),
            (SECOND_1AM, SECOND_1AM),
            (SECOND_1AM + 86_400, SECOND_1AM),
        ],
    )
    def test_hint_decides_the_repeated_hour(self, near: float | None, start: int) -> None:
        """The name means the first of the two hours unless the hint is in or nearer the second."""
        slug = "bitcoin-up-or-down-november-1-2026-1am-et"
        assert Series("btc", "1h").window_from_slug(slug, near) == Window(start, start + HOUR)

    def test_skipped_hour(self) -> None:
        """In spring 1am is followed by 3am without a gap in time."""
        series = Series("btc", "1h")
        names = [series.slug(window) for window in series.windows(at("2026-03-08T06:00"), 2)]
        assert names == [
            "bitcoin-up-or-down-march-8-2026-1am-et",
            "bitcoin-up-or-down-march-8-2026-3am-et",
        ]


def every_third_month() -> list[datetime]:
    """Return days over ten years, in every season."""
    return [datetime(2022, 1, 1, tzinfo=UTC) + timedelta(days=91 * n) for n in range(40)]


class TestOlderNames:
    @pytest.mark.parametrize("moment", every_third_month())
    def test_closest_year(self, moment: datetime) -> None:
        """A name without a year means the closest year, also across New Year."""
        series = Series("btc", "1h")
        t = int(moment.timestamp())
        for offset in (-150, -20, 0, 20, 150):
            window = series.window_at(t + offset * 86_400 + 12 * HOUR)
            year = datetime.fromtimestamp(window.start, NEW_YORK).year
            older = series.slug(window).replace(f"-{year}-", "-")
            assert series.window_from_slug(older, near=t) == window

    def test_daily(self) -> None:
        """Daily names had no year either."""
        series = Series("eth", "1d")
        near = at("2026-01-03")
        window = series.window_from_slug("ethereum-up-or-down-on-december-30", near)
        assert window == daily_window(date(2025, 12, 30))
        assert Series.from_slug("ethereum-up-or-down-on-december-30", near) == (series, window)

    def test_leap_day(self) -> None:
        """29 February means the closest year that has one."""
        window = Series("eth", "1d").window_from_slug(
            "ethereum-up-or-down-on-february-29", near=at("2026-01-15")
        )
        assert window == daily_window(date(2024, 2, 29))

    def test_without_hint(self) -> None:
        """A name without a year and without a hint is an error that says what is missing."""
        with pytest.raises(ValueError, match="no year"):
            Series("eth", "1d").window_from_slug("ethereum-up-or-down-on-may-28")
