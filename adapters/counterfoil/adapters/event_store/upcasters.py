"""How facts of older versions are read: one pure step from each version to the next.

A class is always the newest version of its fact. When a body changes, or a limit on it becomes
tighter, raise the number in its `stored_as`, write the step here, and keep the golden bytes of the
old version for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

JsonObject = dict[str, object]


@dataclass(frozen=True, slots=True)
class Upcaster:
    """A step from the version that `of` names (`invoice.sent.v1`) to the next one."""

    of: str
    step: Callable[[JsonObject], JsonObject]

    @property
    def to(self) -> str:
        """The stored name one version later."""
        name = re.fullmatch(r"([a-z_.]+\.v)([0-9]+)", self.of)
        if name is None:
            raise ValueError(f"{self.of} is no stored name like invoice.sent.v1")
        return f"{name[1]}{int(name[2]) + 1}"


UPCASTERS: tuple[Upcaster, ...] = ()


def chain(upcasters: tuple[Upcaster, ...]) -> Mapping[str, Upcaster]:
    """The steps by the version that they start from; two for one version are a mistake."""
    steps = {upcaster.of: upcaster for upcaster in upcasters}
    if len(steps) != len(upcasters):
        raise ValueError("two upcasters start from the same version")
    return steps
