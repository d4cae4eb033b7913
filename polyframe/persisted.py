"""The state fields of a strategy that come back when the program restarts within the cycle."""

from __future__ import annotations

from typing import Any

import attrs
import msgspec

from polyframe.strategy import Strategy


def persistent_fields(strategy: Strategy) -> list[attrs.Attribute[Any]]:
    """Return the fields that are marked with `PERSIST`."""
    return [a for a in attrs.fields(type(strategy)) if a.metadata.get("polyframe.persist")]


def encode_fields(strategy: Strategy) -> msgspec.Raw:
    """Return the marked fields as a JSON object.

    Raises:
        TypeError: A value that JSON cannot hold.
    """
    values = {a.name: getattr(strategy, a.name) for a in persistent_fields(strategy)}
    return msgspec.Raw(msgspec.json.encode(values))


def decode_fields(strategy: Strategy, data: msgspec.Raw) -> None:
    """Set the marked fields to what `encode_fields` wrote, all of them or none.

    A field that is new since then keeps its default; what is no longer a field is left out.

    Raises:
        ValueError: A value that does not fit the type of its field.
    """
    values = read_fields(strategy, data)
    before = {name: getattr(strategy, name) for name in values}
    try:
        for name, value in values.items():
            setattr(strategy, name, value)
    except Exception:
        for name, value in before.items():
            object.__setattr__(strategy, name, value)  # past validators, which may look at others
        raise


def read_fields(strategy: Strategy, data: msgspec.Raw) -> dict[str, Any]:
    """Return the values that `encode_fields` wrote, by field.

    Raises:
        ValueError: A value that does not fit the type of its field.
    """
    stored = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
    return {
        a.name: msgspec.json.decode(stored[a.name], type=_type_of(strategy, a))
        for a in persistent_fields(strategy)
        if a.name in stored
    }


def _type_of(strategy: Strategy, attribute: attrs.Attribute[Any]) -> Any:
    attrs.resolve_types(type(strategy))
    return getattr(attrs.fields(type(strategy)), attribute.name).type or Any
