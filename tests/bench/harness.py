"""How fast is ours beside others that do the same job, on a machine that is never quiet?

All contenders of a pair take turns within each round, so what disturbs the machine disturbs them
alike. Ours is compared with another within a round, where the moment was the same; the ratio
shown is the median over the rounds.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median, quantiles
from time import thread_time
from typing import Literal, TypeVar

Role = Literal["ours", "peer", "limit"]

# A sample shorter than this says more about the clock and the scheduler than about the work.
SAMPLE_SECONDS_MIN = 0.05

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Sample:
    """So much was done, and it took so long."""

    units: int
    seconds: float

    @property
    def cost(self) -> float:
        """Seconds for one unit."""
        return self.seconds / self.units


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to do the job. `sample` does it once and says what it did, in the time that counts.

    What a sample makes ready or clears away is not in its time, so it may start processes.
    """

    name: str
    role: Role
    sample: Callable[[], Sample]


@dataclass(frozen=True, slots=True)
class Pair:
    """A job, and all who do it: ours exactly once, and any number of peers and limits.

    `setup` makes a job of some size ready and checks that all contenders come to the same; the
    tests ask for a small one. It truncates and drops nothing: on some disks that alone slows
    later commits two to six times.
    """

    name: str
    job: str
    unit: str
    size: int
    setup: Callable[[int], AbstractContextManager[Sequence[Contender]]]
    note: str


@dataclass(frozen=True, slots=True)
class Figure:
    """A median, and how far its values lie apart: interquartile range over median."""

    median: float
    spread: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one contender did, a sample for each round."""

    name: str
    role: Role
    samples: tuple[Sample, ...]

    @property
    def cost(self) -> Figure:
        """Seconds for one unit."""
        return figure([sample.cost for sample in self.samples])


@dataclass(frozen=True, slots=True)
class Result:
    """What all contenders of a pair did, in the order in which the pair names them."""

    pair: Pair
    measured: tuple[Measured, ...]

    @property
    def ours(self) -> Measured:
        """The one that all others are compared with."""
        (ours,) = (one for one in self.measured if one.role == "ours")
        return ours

    def speed_beside(self, other: Measured) -> Figure:
        """How fast ours is by the measure of another: 2.0 is twice as fast, 0.5 is half."""
        rounds = zip(self.ours.samples, other.samples, strict=True)
        return figure([theirs.cost / ours.cost for ours, theirs in rounds])


def measure(
    pair: Pair,
    rounds: int,
    *,
    size: int | None = None,
    seconds_min: float = SAMPLE_SECONDS_MIN,
    after_round: Callable[[], None] = lambda: None,
) -> Result:
    """Let the contenders of a pair take turns: one round to warm up, then those that count."""
    with pair.setup(pair.size if size is None else size) as contenders:
        samples: dict[str, list[Sample]] = {contender.name: [] for contender in contenders}
        for number in range(rounds + 1):
            for contender in rotated(contenders, number):
                samples[contender.name].append(undisturbed(contender, seconds_min))
            after_round()
        return Result(
            pair,
            tuple(
                Measured(contender.name, contender.role, tuple(samples[contender.name][1:]))
                for contender in contenders
            ),
        )


def rotated(items: Sequence[Item], number: int) -> Sequence[Item]:
    """The order of one round, ABC, BCA or CAB: none always follows the same wait."""
    first = number % len(items)
    return (*items[first:], *items[:first])


def undisturbed(contender: Contender, seconds_min: float) -> Sample:
    """One sample without garbage collection in it, repeated until it is long enough to trust."""
    units, seconds = 0, 0.0
    gc.collect()
    gc.disable()
    try:
        while units == 0 or seconds < seconds_min:
            sample = contender.sample()
            units += sample.units
            seconds += sample.seconds
    finally:
        gc.enable()
    return Sample(units, seconds)


def timed(units: int, work: Callable[[], object]) -> Callable[[], Sample]:
    """A sample of pure computation in this thread, in CPU time: what other processes take of the
    machine is not in it. Whatever waits (for a disk, a server, a lock) needs a real clock instead.
    """

    def sample() -> Sample:
        began = thread_time()
        work()
        return Sample(units, thread_time() - began)

    return sample


def figure(values: Sequence[float]) -> Figure:
    """The median of some values and their spread; a single value has none."""
    middle = median(values)
    if len(values) == 1:
        return Figure(middle, 0.0)
    low, _, high = quantiles(values, n=4, method="inclusive")
    return Figure(middle, (high - low) / middle)
