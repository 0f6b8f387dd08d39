"""Which invoices are meant: what a caller said of them, as conditions that an index answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import TypedDict

from counterfoil.domain.errors import Malformed
from counterfoil.domain.invoice.events import CollectionMethod, Status
from counterfoil.domain.money import Money
from counterfoil.projections.paging import Conditions, Range, free_text, one_of, word


class Filters(TypedDict, total=False):
    """Which invoices are meant. All that is said must hold; nothing that is said is ignored."""

    customer: str | None
    status: str | None
    subscription: str | None
    currency: str | None
    created: Range | None
    due_date: Range | None
    collection_method: str | None
    overdue: bool | None
    number_prefix: str | None
    metadata: Mapping[str, str] | None


def meeting(tenant: str, filters: Filters, today: Callable[[], date]) -> Conditions:
    """What the rows of these invoices meet."""
    for name in filters:
        if name not in Filters.__annotations__:
            raise Malformed(name, "is no filter of invoices")
    conditions = Conditions(tenant)
    conditions.equal("customer_id", "customer", filters.get("customer"))
    status = one_of("status", filters.get("status"), _STATUSES)
    conditions.equal("status", "status", status)
    conditions.equal("subscription", "subscription", filters.get("subscription"))
    conditions.equal("currency", "currency", _currency(filters.get("currency")))
    conditions.within("created", "created", filters.get("created"))
    conditions.within("due_date", "due_date", filters.get("due_date"), days=True)
    method = one_of("collection_method", filters.get("collection_method"), _METHODS)
    conditions.equal("collection_method", "collection_method", method)
    overdue = filters.get("overdue")
    if overdue is not None:
        if type(overdue) is not bool:
            raise Malformed("overdue", "must be True or False")
        late = "status = 'open' AND due_date IS NOT NULL AND due_date < :today"
        conditions.add(late if overdue else f"NOT ({late})", today=today().isoformat())
    prefix = filters.get("number_prefix")
    if prefix is not None:
        conditions.add(
            "number >= :prefix AND number < :beyond",
            prefix=word("number_prefix", prefix),
            beyond=f"{prefix}{_LAST}",
        )
    _add_metadata(conditions, filters.get("metadata"))
    return conditions


# No text comes behind it.
_LAST = "\U0010ffff"
_STATUSES = [status.value for status in Status if status is not Status.DISCARDED]
_METHODS = [method.value for method in CollectionMethod]
# Each is a look of its own.
_METADATA_MAX = 10


def _currency(said: str | None) -> str | None:
    return None if said is None else Money(0, said).currency


def _add_metadata(conditions: Conditions, said: Mapping[str, str] | None) -> None:
    if said is None:
        return
    if not hasattr(said, "items") or not 0 < len(said) <= _METADATA_MAX:
        raise Malformed("metadata", f"must be 1 to {_METADATA_MAX} keys and their values")
    for place, (name, value) in enumerate(said.items()):
        if not name:
            raise Malformed("metadata", "has no empty key")
        said_name, said_value = free_text("metadata", name), free_text("metadata", value)
        values = {f"name_{place}": said_name, f"value_{place}": said_value}
        conditions.add(
            "id IN (SELECT invoice FROM invoice_metadata WHERE tenant = :tenant"
            f" AND name = :name_{place} AND value = :value_{place})",
            **values,
        )
