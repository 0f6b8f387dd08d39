"""What operators see of documents and payments: spans and counters, where OpenTelemetry's API is
installed.

Attributes are what a document is made with, never what it says, and which processor was asked,
never about whom: no body, no name, no amount.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, TypeVar

from counterfoil.domain.ports import (
    Charge,
    DocumentStore,
    Label,
    Outcome,
    Processor,
    Repayment,
)

if TYPE_CHECKING:
    from counterfoil.projections.render.sheet import Fallback

try:
    from opentelemetry import metrics, trace
except ImportError:  # the extra `telemetry` is not installed
    _TRACER = _METER = None
else:
    _TRACER = trace.get_tracer("counterfoil")
    _METER = metrics.get_meter("counterfoil")

Attributes = Mapping[str, str | int | bool]

_LOG = logging.getLogger("counterfoil.documents")
_COUNTERS = (
    {
        name: _METER.create_counter(name, description=said)
        for name, said in {
            "counterfoil.documents.rendered": "documents printed",
            "counterfoil.documents.stored": "documents put into the store",
            "counterfoil.documents.fetched": "documents taken from the store",
            "counterfoil.documents.deleted": "documents deleted from the store",
            "counterfoil.documents.fallbacks": "locales and time zones that are not known",
            "counterfoil.payments.asked": "requests to a processor",
        }.items()
    }
    if _METER
    else {}
)


@contextmanager
def span(name: str, counter: str, attributes: Attributes, **only_seen: str | int) -> Iterator[None]:
    """Tell how long something took and whether it worked; an error is told by its kind alone.

    What has many values is seen on the span alone: a counter would have a series for each.
    """
    outcome = "ok"
    if _TRACER is None:
        yield
        return
    with _TRACER.start_as_current_span(
        name,
        attributes={**attributes, **only_seen},
        record_exception=False,
        set_status_on_exception=False,
    ) as current:
        try:
            yield
        except BaseException as error:
            outcome = type(error).__name__
            current.set_status(trace.StatusCode.ERROR, outcome)
            raise
        finally:
            current.set_attribute("outcome", outcome)
            _COUNTERS[counter].add(1, {**attributes, "outcome": outcome})


def tell(fallback: Fallback) -> None:
    """Say that a document speaks otherwise than was wished."""
    _LOG.warning(
        "%s %s is not known; the document takes %s",
        fallback.of,
        fallback.wish,
        fallback.instead,
    )
    if _TRACER is not None:
        said = {"wish": fallback.wish, "instead": fallback.instead}
        trace.get_current_span().add_event(f"counterfoil.{fallback.of}_fallback", said)
        _COUNTERS["counterfoil.documents.fallbacks"].add(1, {"of": fallback.of})


class ObservedStore:
    """A store that tells of all that is put, got and deleted."""

    def __init__(self, store: DocumentStore) -> None:
        self._store = store
        self._name = type(store).__name__

    @property
    def persists(self) -> bool:
        return self._store.persists

    def put(self, key: str, content: bytes, label: Label) -> None:
        attributes: Attributes = {"store": self._name}
        size = len(content)
        with span(
            "counterfoil.documents.put", "counterfoil.documents.stored", attributes, bytes=size
        ):
            self._store.put(key, content, label)

    def get(self, key: str) -> bytes:
        attributes = {"store": self._name}
        with span("counterfoil.documents.get", "counterfoil.documents.fetched", attributes):
            return self._store.get(key)

    def delete(self, key: str) -> None:
        attributes = {"store": self._name}
        with span("counterfoil.documents.delete", "counterfoil.documents.deleted", attributes):
            self._store.delete(key)

    def link(self, key: str, file_name: str, *, valid_s: int) -> str:
        return self._store.link(key, file_name, valid_s=valid_s)


class ObservedProcessor:
    """A processor that tells of all that it is asked, and what kind of answer it gives."""

    def __init__(self, processor: Processor) -> None:
        self._processor = processor

    @property
    def name(self) -> str:
        return self._processor.name

    def default_payment_method(self, customer: str) -> str | None:
        with self._span("default_payment_method"):
            return self._processor.default_payment_method(customer)

    def charge(self, charge: Charge) -> Outcome:
        with self._span("charge"):
            return _answered(self._processor.charge(charge))

    def retrieve(self, charge: Charge) -> Outcome | None:
        with self._span("retrieve"):
            return _answered(self._processor.retrieve(charge))

    def cancel(self, charge: Charge) -> Outcome:
        with self._span("cancel"):
            return _answered(self._processor.cancel(charge))

    def refund(self, repayment: Repayment) -> Outcome:
        with self._span("refund"):
            return _answered(self._processor.refund(repayment))

    def close(self) -> None:
        self._processor.close()

    def _span(self, asked: str) -> AbstractContextManager[None]:
        attributes = {"processor": self.name, "asked": asked}
        return span(f"counterfoil.payments.{asked}", "counterfoil.payments.asked", attributes)


Answered = TypeVar("Answered", bound="Outcome | None")


def _answered(outcome: Answered) -> Answered:
    if _TRACER is not None:
        trace.get_current_span().set_attribute("answer", type(outcome).__name__)
    return outcome
