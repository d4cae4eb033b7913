"""The files of a snapshot: what is in them, and which of them can be believed.

Each cycle has a bucket of two files, named after its series, slug and generation. The *snapshot* is
replaced as a whole; the *list of sent orders* only grows, a line before each order leaves. Their
first line says what they are, so that a file that is torn, foreign, of a newer version or of another
cycle is recognised before anything of it is used.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Mapping
from decimal import Decimal

import msgspec
from attrs import field, frozen

from polyframe.model.market import Market
from polyframe.model.money import ZERO
from polyframe.model.order import Order
from polyframe.trading.account import Account
from polyframe.trading.image import CycleImage
from polyframe.trading.state import CycleState

VERSION = 1
"""Version of the format below."""

_FORMAT = "polyframe-snapshot"
_SENT_FORMAT = "polyframe-sent-orders"
_NAME = re.compile(
    r"(?P<series>[^/]+)/(?P<slug>[^@]+)@(?P<generation>\d+)\.(?P<kind>snapshot|sent)"
)


class RefusedError(Exception):
    """A file that must not be used.

    Attributes:
        reason: One word for it, as it is counted.
    """

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


@frozen
class Owner:
    """Whose orders they are: a snapshot of one account is nothing to another.

    Attributes:
        exchange: Name of the venue.
        account: Public name of the account there.
        is_live: Whether it is real money.
    """

    exchange: str
    account: str
    is_live: bool


@frozen
class Bucket:
    """The key of a cycle's files."""

    series: str
    slug: str
    generation: int

    @classmethod
    def of(cls, market: Market) -> Bucket:
        """Return the bucket of a market's cycle."""
        return cls(str(market.series), market.slug, market.generation)

    @classmethod
    def parse(cls, key: str) -> Bucket | None:
        """Return the bucket that a file belongs to, ``None`` for a file of another kind."""
        match = _NAME.fullmatch(key)
        return cls(match["series"], match["slug"], int(match["generation"])) if match else None

    @property
    def snapshot_key(self) -> str:
        """Key of the snapshot."""
        return f"{self.series}/{self.slug}@{self.generation}.snapshot"

    @property
    def sent_key(self) -> str:
        """Key of the list of sent orders."""
        return f"{self.series}/{self.slug}@{self.generation}.sent"


@frozen
class Content:
    """What a snapshot holds.

    Attributes:
        image: The trading state.
        cash: USD of the account, for people; the venue decides.
        time_ms: Epoch milliseconds of market time.
        fields: Marked fields by strategy, as JSON.
        is_over: Whether its strategies have ended with its window: what rests was left on purpose.
    """

    image: CycleImage
    cash: Decimal
    time_ms: int
    fields: Mapping[str, msgspec.Raw] = field(factory=dict, hash=False)
    is_over: bool = False


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    exchange: str
    account: str
    is_live: bool
    series: str
    slug: str
    generation: int
    bytes: int = 0
    sha256: str = ""
    market: Market | None = None


# ---------------------------------------------------------------------------- snapshots


def encode(owner: Owner, content: Content) -> bytes:
    """Return the file of a snapshot."""
    body = msgspec.json.encode(content)
    header = _header(owner, content.image.market, _FORMAT)
    digest = hashlib.sha256(body).hexdigest()
    header = msgspec.structs.replace(header, bytes=len(body), sha256=digest)
    return msgspec.json.encode(header) + b"\n" + body + b"\n"


def decode(owner: Owner, bucket: Bucket, data: bytes) -> Content:
    """Return what the file of a bucket holds.

    Raises:
        RefusedError: It is torn, foreign, newer, of another cycle, or contradicts itself.
    """
    first, _, rest = data.partition(b"\n")
    header = _checked(first, owner, bucket, _FORMAT)
    body = rest[: header.bytes]
    if len(body) < header.bytes or hashlib.sha256(body).hexdigest() != header.sha256:
        msg = f"{len(body)} of {header.bytes} bytes are there, or they are not those written"
        raise RefusedError("torn", msg)
    try:
        content = msgspec.json.decode(body, type=Content)
    except (msgspec.DecodeError, ValueError) as error:
        # Whole, and yet not to be read: no version of ours wrote it.
        raise RefusedError("foreign", str(error)) from error
    if Bucket.of(content.image.market) != bucket:
        raise RefusedError("wrong_generation", f"its market is {content.image.market.slug}")
    if flaw := content.image.flaw():
        raise RefusedError("wrong_generation", flaw)
    _try(content.image)
    return content


# ---------------------------------------------------------------------------- sent orders


def encode_sent_header(owner: Owner, market: Market) -> bytes:
    """Return the first line of a list of sent orders."""
    header = msgspec.structs.replace(_header(owner, market, _SENT_FORMAT), market=market)
    return seal(msgspec.json.encode(header))


def encode_sent(order: Order) -> bytes:
    """Return the line of one order."""
    return seal(msgspec.json.encode(order))


def seal(line: bytes) -> bytes:
    """Return a line of the list with its checksum: a digit that has changed looks like another."""
    return b"%b\t%08x\n" % (line, zlib.crc32(line))


def _unseal(line: bytes) -> bytes:
    """Return what a line says.

    Raises:
        RefusedError: It is not what was written.
    """
    text, _, checksum = line.rpartition(b"\t")
    if checksum != b"%08x" % zlib.crc32(text):
        raise RefusedError("torn", "a line of it is not what was written")
    return text


def decode_sent(owner: Owner, bucket: Bucket, data: bytes) -> tuple[Market, list[Order]]:
    """Return the market and the orders of a list.

    A last line that is cut off is left out: its order had not left yet.

    Raises:
        RefusedError: It is damaged elsewhere, foreign, newer, or of another cycle.
    """
    first, *lines = data.split(b"\n")
    header = _checked(first.rpartition(b"\t")[0], owner, bucket, _SENT_FORMAT)
    _unseal(first)
    if header.market is None or Bucket.of(header.market) != bucket:
        raise RefusedError("wrong_generation", "its market is another one")
    try:
        orders = [msgspec.json.decode(_unseal(line), type=Order) for line in lines[:-1]]
    except (msgspec.DecodeError, ValueError) as error:
        raise RefusedError("torn", f"a line of it cannot be read: {error}") from error
    image = CycleImage(header.market).with_sent(orders)
    if flaw := image.flaw():
        raise RefusedError("wrong_generation", flaw)
    _try(image)
    return header.market, orders


def _try(image: CycleImage) -> None:
    """Make a state of an image, so that no file can keep a program from starting.

    Raises:
        RefusedError: It cannot be done, whatever the reason.
    """
    try:
        CycleState.restored(image, Account(ZERO))
    except Exception as error:
        raise RefusedError("foreign", f"no state can be made of it: {error!r}") from error


# ---------------------------------------------------------------------------- first lines


def _header(owner: Owner, market: Market, name: str) -> _Header:
    return _Header(
        format=name,
        version=VERSION,
        exchange=owner.exchange,
        account=owner.account,
        is_live=owner.is_live,
        series=str(market.series),
        slug=market.slug,
        generation=market.generation,
    )


def _checked(line: bytes, owner: Owner, bucket: Bucket, name: str) -> _Header:
    """Return the first line of a file that belongs to `owner` and `bucket`.

    Raises:
        RefusedError: It does not.
    """
    if not line.strip():
        raise RefusedError("torn", "it is empty")
    try:
        start = msgspec.json.decode(line, type=dict[str, object])
    except (msgspec.DecodeError, ValueError) as error:
        raise RefusedError("torn", f"its first line cannot be read: {error}") from error
    if start.get("format") != name:
        raise RefusedError("foreign", f"it is no {name} file")
    version = start.get("version")
    if isinstance(version, int) and version > VERSION:
        msg = f"its format is version {version}, this polyframe knows {VERSION}: upgrade polyframe"
        raise RefusedError("newer", msg)
    try:
        header = msgspec.json.decode(line, type=_Header)
    except (msgspec.DecodeError, ValueError) as error:
        raise RefusedError("torn", f"its first line is incomplete: {error}") from error
    if (header.exchange, header.account, header.is_live) != (
        owner.exchange,
        owner.account,
        owner.is_live,
    ):
        whose = f"{header.account or 'nobody'} at {header.exchange}"
        kind = "live" if header.is_live else "not live"
        msg = f"it belongs to {whose} ({kind}), this is {owner.account} at {owner.exchange}"
        raise RefusedError("foreign", msg)
    if Bucket(header.series, header.slug, header.generation) != bucket:
        msg = f"it is of {header.slug}, generation {header.generation}"
        raise RefusedError("wrong_generation", msg)
    return header
