"""The local venue: a server on loopback that speaks Polymarket's protocol.

It shares no code with the client that is tested against it, except the values of `polyframe.model`.
"""

import importlib

for _package in ("starlette", "uvicorn"):
    try:
        importlib.import_module(_package)
    except ModuleNotFoundError as _error:
        _text = (
            f"polyframe.venue needs {_package}: install the extra in the checkout of polyframe, "
            "pip install '.[venue]'"
        )
        raise ModuleNotFoundError(_text, name=_error.name) from _error

from polyframe.venue.account import Credentials, VenueAccount
from polyframe.venue.faultkinds import VenueFault
from polyframe.venue.faults import InjectedFault, VenueFaults
from polyframe.venue.local import LocalVenue
from polyframe.venue.modes import VenueMode
from polyframe.venue.recorded import ResolvedMarketsSource
from polyframe.venue.settings import VenueSettings, VenueStats
from polyframe.venue.sources import MarketSource, SeveralSources
from polyframe.venue.synthetic import SyntheticSource
from polyframe.venue.values import Print, Snapshot, SourceEvent, VenueMarket

__all__ = [
    "Credentials",
    "InjectedFault",
    "LocalVenue",
    "MarketSource",
    "Print",
    "ResolvedMarketsSource",
    "SeveralSources",
    "Snapshot",
    "SourceEvent",
    "SyntheticSource",
    "VenueAccount",
    "VenueFault",
    "VenueFaults",
    "VenueMarket",
    "VenueMode",
    "VenueSettings",
    "VenueStats",
]
