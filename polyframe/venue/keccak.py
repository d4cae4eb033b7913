"""Keccak-256 as Ethereum has it: SHA-3 before its padding was changed, so `hashlib` has it not.

Pure Python, about a millisecond for an order. It has no key to leak, and the venue's order ids must
not depend on what is installed.
"""

from __future__ import annotations

_RATE = 136
"""Bytes of the state that a block fills."""
_MASK = (1 << 64) - 1


def _constants() -> tuple[list[int], list[tuple[int, int, int]]]:
    """Return the round constants, and for each lane its rotation and where it moves to."""
    rounds = []
    register = 1
    for _ in range(24):
        constant = 0
        for bit in range(7):
            if register & 1:
                constant |= 1 << ((1 << bit) - 1)
            register = (register << 1) ^ (0x171 if register & 0x80 else 0)
        rounds.append(constant)
    moves = [(0, 0, 0)]
    x, y = 1, 0
    for step in range(24):
        lane = x + 5 * y
        x, y = y, (2 * x + 3 * y) % 5
        moves.append((lane, (step + 1) * (step + 2) // 2 % 64, x + 5 * y))
    return rounds, moves


_ROUNDS, _MOVES = _constants()


def _permute(lanes: list[int]) -> list[int]:
    for constant in _ROUNDS:
        parity = [
            lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20]
            for x in range(5)
        ]
        mixed = [
            parity[(x + 4) % 5] ^ ((parity[(x + 1) % 5] << 1 | parity[(x + 1) % 5] >> 63) & _MASK)
            for x in range(5)
        ]
        moved = [0] * 25
        for source, turn, target in _MOVES:
            lane = lanes[source] ^ mixed[source % 5]
            moved[target] = (lane << turn | lane >> (64 - turn)) & _MASK
        lanes = [
            moved[i] ^ (~moved[i - i % 5 + (i + 1) % 5] & moved[i - i % 5 + (i + 2) % 5] & _MASK)
            for i in range(25)
        ]
        lanes[0] ^= constant
    return lanes


def keccak(data: bytes) -> bytes:
    """Return the 32 bytes of Keccak-256 over `data`."""
    padded = bytearray(data)
    padded += b"\0" * (_RATE - len(data) % _RATE)
    padded[len(data)] |= 0x01
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), _RATE):
        for lane in range(_RATE // 8):
            place = start + 8 * lane
            lanes[lane] ^= int.from_bytes(padded[place : place + 8], "little")
        lanes = _permute(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])
