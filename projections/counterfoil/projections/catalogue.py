"""All projections there are, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from counterfoil.domain.errors import NotFound
from counterfoil.projections import (
    ageing,
    credit_notes,
    customers,
    invoices,
    journal,
    lines,
    payments,
    series,
)
from counterfoil.projections.projection import Projection

PROJECTIONS: Mapping[str, Projection] = {
    module.PROJECTION.name: module.PROJECTION
    for module in (invoices, lines, payments, credit_notes, series, customers, ageing, journal)
}


def chosen(names: Sequence[str]) -> tuple[Projection, ...]:
    """The projections of these names, or all of them."""
    for name in names:
        if name not in PROJECTIONS:
            raise NotFound("projection", f"{name}; there are {', '.join(PROJECTIONS)}")
    return tuple(one for one in PROJECTIONS.values() if not names or one.name in names)
