"""A machine between minutes: what a report printed at this second says.

The minutes of `model` are joined by straight lines so that their averages stay what they are, with noise of the second
on top; so a series that begins as history of minutes goes on in seconds without a step.
"""

import math

import numpy as np

from hps_platform.stack.simulator.model import DISKS, NET_ROWS, ROW, ROWS, Machine
from hps_platform.stack.simulator.noise import Floats, key_of, normal, uniform

_BLOCK = 64
_BACK = 3
_USUAL = 0.06
_AMPLITUDES = {
    "r": 0.22, "b": 0.3, "us": 0.09, "sy": 0.09, "wa": 0.2, "st": 0.5, "comp": 4e-4, "cache": 4e-4, "swap": 0.0,
    "pi": 0.3, "po": 0.3, "ierrs0": 0.0, "oerrs0": 0.0,
}  # fmt: skip
_PERCENT = [ROW[f"busy{number}"] for number in range(DISKS)]


class Live:
    """Reports of one machine at single moments."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._first = 0
        self._knots: Floats = np.zeros((len(ROWS), 0))
        self._keys = np.array([key_of(machine.host.key, "second", row) for row in ROWS], dtype=np.uint64)
        self._amplitudes = np.array([_AMPLITUDES.get(row, _USUAL) for row in ROWS])
        self._dither = np.array([key_of(machine.host.key, "dither", row) for row in ("r", "b")], dtype=np.uint64)
        self._rates_of = -1
        self._since_boot: Floats | None = None
        self._net_rates: Floats = np.zeros(len(NET_ROWS))

    def _at(self, position: float) -> Floats:
        """The state at a position counted in minutes since 1970, minutes standing at their middles."""
        minute = math.floor(position - 0.5)
        part = position - 0.5 - minute
        if not self._first <= minute < self._first + self._knots.shape[1] - 1:
            # Some minutes back too, for reports that reach over the edge of the block.
            self._first = minute - _BACK
            states = self.machine.minutes(self._first - 1, _BLOCK + 2)
            # A straight line through the minutes' means has other means: each knot is moved by what it would lose.
            bend = states[:, :-2] - 2.0 * states[:, 1:-1] + states[:, 2:]
            self._knots = np.maximum(states[:, 1:-1] - bend / 8.0, 0.0)
        column = minute - self._first
        knots = self._knots
        return knots[:, column] + (knots[:, column + 1] - knots[:, column]) * part

    def state(self, at: float, interval_s: float) -> Floats:
        """What a report printed at `at` (seconds since 1970) says of the `interval_s` before it: a column of `ROWS`."""
        parts = max(1, min(60, round(interval_s / 10.0)))
        step = interval_s / parts
        state = sum(self._at((at - step * (part + 0.5)) / 60.0) for part in range(parts)) / parts
        index = np.full(1, int(at / max(interval_s, 1.0)), dtype=np.int64)
        # Longer reports average the seconds' noise away.
        scale = self._amplitudes * math.sqrt(2.0 / max(interval_s, 2.0))
        state = np.maximum(state * (1.0 + scale * normal(self._keys, index)), 0.0)
        if interval_s < 60.0:
            # A queue is a whole number at a moment: 0.3 on average is three ones in ten reports.
            rows = [ROW["r"], ROW["b"]]
            state[rows] = np.floor(state[rows] + uniform(self._dither, index))
        self._keep_shares(state)
        return state.reshape(-1, 1)

    def _keep_shares(self, state: Floats) -> None:
        state[_PERCENT] = np.minimum(state[_PERCENT], 100.0)
        busy = state[ROW["us"]] + state[ROW["sy"]]
        if busy > 100.0:
            state[ROW["us"]] *= 100.0 / busy
            state[ROW["sy"]] *= 100.0 / busy
            busy = 100.0
        state[ROW["wa"]] = min(state[ROW["wa"]], 100.0 - busy)
        state[ROW["pc"]] = self.machine.host.virtual_cpus * busy / 100.0

    def since_boot(self, at: float) -> Floats:
        """What the first report of an interval command says: the averages since the machine was started."""
        if self._since_boot is None:
            states = self.machine.minutes(int(at // 60) - 300, 240)
            self._since_boot = states.mean(axis=1).reshape(-1, 1)
        return self._since_boot

    def counters(self, at: float) -> Floats:
        """The interfaces' counters at a time, in the order of `NET_ROWS`."""
        minute = int(at // 60)
        counted = self.machine.counters(minute)
        if self._rates_of != minute:
            row = ROW[NET_ROWS[0]]
            self._net_rates = self.machine.minutes(minute, 1)[row : row + len(NET_ROWS), 0]
            self._rates_of = minute
        now: Floats = counted + self._net_rates * (at - 60.0 * minute)
        return now
