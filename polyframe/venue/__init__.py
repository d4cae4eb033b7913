"""The local venue: a server on loopback that speaks Polymarket's protocol.

It shares no code with the client that is tested against it, except the values of `polyframe.model`.
"""

from polyframe.venue.account import VenueAccount
from polyframe.venue.local import LocalVenue
from polyframe.venue.recorded import ResolvedMarketsSource
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.sources import MarketSource
from polyframe.venue.synthetic import SyntheticSource
from polyframe.venue.values import Print, Snapshot, SourceEvent, VenueMarket

__all__ = [
    "LocalVenue",
    "MarketSource",
    "Print",
    "ResolvedMarketsSource",
    "Snapshot",
    "SourceEvent",
    "SyntheticSource",
    "VenueAccount",
    "VenueMarket",
    "VenueSettings",
    "VenueStats",
]
