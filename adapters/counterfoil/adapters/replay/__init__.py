"""The history once more: into a fresh database, or under other rules."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import overload

from counterfoil.adapters.replay.redeciding import Differing, Field, Sums
from counterfoil.adapters.replay.replaying import Open, Opened, Replayed, Total, position_of, replay
from counterfoil.adapters.replay.supposing import Tell, WhatIf, what_if
from counterfoil.domain.errors import Malformed
from counterfoil.projections.progress import Watch

__all__ = [
    "Differing",
    "Field",
    "Opened",
    "Replay",
    "Replayed",
    "Sums",
    "Total",
    "WhatIf",
]


class Replay:
    """Plays the log of a database again. The database itself is only read."""

    def __init__(self, of: Opened, open_: Open) -> None:
        self._of = of
        self._open = open_

    @overload
    def __call__(
        self,
        *,
        to: int | datetime | None = None,
        into: str | Path | None = None,
        with_: None = None,
        watch: Watch = ...,
    ) -> Replayed: ...

    @overload
    def __call__(
        self,
        *,
        to: int | datetime | None = None,
        with_: str | Path,
        tell: Tell = ...,
        watch: Watch = ...,
    ) -> WhatIf: ...

    def __call__(
        self,
        *,
        to: int | datetime | None = None,
        into: str | Path | None = None,
        with_: str | Path | None = None,
        tell: Tell = lambda _: None,
        watch: Watch = lambda _: None,
    ) -> Replayed | WhatIf:
        """Play the log, as far as `to`, a position or a time, fact by fact into an empty database,
        and make its read models there. Without `to`, every table is compared with the live one.

        `into` keeps that database: a file that is not there yet, or postgresql://…, made by
        `Billing.init`; without it, it is thrown away.

        `with_` is a Python file whose rules are put in the place of ours: every invoice and credit
        note is decided once more, and `tell` hears of each that would be another. It runs in this
        process, with all that this process may do; nothing is stored.
        """
        if with_ is None:
            kept = None if into is None else str(into)
            return replay(self._of, self._open, to=to, into=kept, watch=watch)
        if into is not None:
            raise Malformed("into", "is for a replay as it was: what might have been is not stored")
        upto = position_of(self._of, to)
        return what_if(self._of, Path(with_), upto, tell=tell, watch=watch)
