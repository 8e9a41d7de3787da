"""Noise that can be asked for at any time in any order: every value is a hash of a key and a time.

A random generator has to be run from its beginning; a simulated machine must know its state of last Tuesday and of
this second alike, and give the same answer in the process that wrote the history and in the one that serves it live.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_LANE = np.uint64(0xFFFF)
# The sum of four uniform 16-bit lanes has this mean and standard deviation.
_LANES_MEAN = 2.0 * 0xFFFF
_LANES_SD = 65536.0 / 3.0**0.5

SLOW_TO_FAST = ((240, 0.55), (45, 0.5), (8, 0.45), (1, 0.55))
"""Periods in minutes and weights of the octaves of a machine's load: hours, tens of minutes, minutes."""


def _mix(x: Keys) -> Keys:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014), vectorised."""
    x = (x ^ (x >> np.uint64(30))) * _MIX_1
    x = (x ^ (x >> np.uint64(27))) * _MIX_2
    return x ^ (x >> np.uint64(31))


def key_of(*parts: int | str) -> int:
    """A 64-bit key for a stream of noise, from what it belongs to; the same on every machine and run."""
    value = 0xCBF29CE484222325
    for part in parts:
        for byte in f"{part}\x1f".encode():
            value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return value


def hashes(keys: Keys, index: Ints) -> Keys:
    """Uniform 64-bit values; `keys` and `index` broadcast against each other."""
    with np.errstate(over="ignore"):
        return _mix(_mix(keys) + index.astype(np.uint64) * _GAMMA)


def normal(keys: Keys, index: Ints) -> Floats:
    """Nearly standard normal values (bounded by about 3.5)."""
    h = hashes(keys, index)
    lanes = (h & _LANE) + ((h >> np.uint64(16)) & _LANE) + ((h >> np.uint64(32)) & _LANE) + (h >> np.uint64(48))
    values: Floats = (lanes.astype(np.float64) - _LANES_MEAN) / _LANES_SD
    return values


def uniform(keys: Keys, index: Ints) -> Floats:
    """Values in [0, 1)."""
    values: Floats = (hashes(keys, index) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return values


def number(*parts: int | str) -> float:
    """One value in [0, 1) for one thing, such as a machine's backup hour."""
    return float(uniform(np.array([key_of(*parts)], dtype=np.uint64), np.zeros(1, dtype=np.int64))[0])


def between(low: float, high: float, *parts: int | str) -> float:
    """One value in [low, high) for one thing."""
    return low + (high - low) * number(*parts)


def waves(keys: Keys, first: int, count: int, octaves: tuple[tuple[int, float], ...] = SLOW_TO_FAST) -> Floats:
    """One row per key, one column per minute from `first`: knots each octave's period apart, joined by straight lines.

    The variance is about 1 over all; neighbours in time resemble each other as a machine's load does.
    """
    minutes = np.arange(first, first + count, dtype=np.int64)
    column = keys.reshape(-1, 1)
    total = np.zeros((len(keys), count))
    for period, weight in octaves:
        octave_keys = column + np.uint64(period * 7919)
        start = first // period
        knots = normal(octave_keys, np.arange(start, (first + count) // period + 2, dtype=np.int64))
        if period == 1:
            total += weight * knots[:, :count]
            continue
        at = minutes // period - start
        part = (minutes % period) / period
        low = knots[:, at]
        total += weight * (low + (knots[:, at + 1] - low) * part)
    return total
