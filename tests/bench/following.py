"""How many new events a second does a live projector take in, which works in the background?

What is to be taken in is written before the clock starts, in the order in which things happen:
many invoices are drafted, then the same are finalized and sent, then they are paid. So most events
are of an invoice that is there already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from time import perf_counter

from bench.harness import Contender, Pair, Sample
from bench.kept import bare_server
from bench.ledger import FACTS_PER_INVOICE, Ledger, fill_postgres
from bench.runner import Books, books
from bench.server import database
from counterfoil.adapters.event_store.postgres import PostgresLog
from counterfoil.adapters.read_models.postgres import PostgresStore
from counterfoil.billing import Billing
from counterfoil.projections.catalogue import chosen
from counterfoil.projections.follow import follow
from counterfoil.projections.keeping import PAGE

# The library takes so many times as long that it is given so many times fewer events.
PEER_SHARE = 16
PEER = "follow_invoices"

# Takes in new facts, and says how many.
Step = Callable[[], int]


@contextmanager
def postgres(
    events: int, *, name: str, opens: Callable[[str], Iterator[Step]]
) -> Iterator[Sequence[Contender]]:
    """Two logs that grow by so many events in a sample, the library's by fewer."""
    invoices = max(1, events // FACTS_PER_INVOICE)
    peers = max(1, invoices // PEER_SHARE)
    server = bare_server()
    with database(server, f"{name}_ours") as url, database(server, f"{name}_library") as theirs:
        Billing.init(url)
        with contextmanager(opens)(url) as step, books(theirs) as library:
            ledger = Ledger(block=invoices)
            yield (
                Contender(
                    name.replace("_", " "), "ours", lambda: ours(url, ledger, invoices, step)
                ),
                Contender("ProjectionRunner", "peer", lambda: peer(library, peers)),
            )


def ours(url: str, ledger: Ledger, invoices: int, step: Step) -> Sample:
    """Take in all that is new."""
    fill_postgres(url, ledger, invoices)
    facts, began = 0, perf_counter()
    while taken := step():
        facts += taken
    took = perf_counter() - began
    assert facts == invoices * FACTS_PER_INVOICE
    return Sample(facts, took)


def peer(library: Books, invoices: int) -> Sample:
    """The same, from the first event to the last."""
    return library.run(PEER, library.add(invoices), invoices)


def worker(url: str) -> Iterator[Step]:
    """Our worker: all read models."""
    with Billing.open(url, projections="async") as billing:
        projections = billing.projections
        yield lambda: projections.step().facts


def two(url: str) -> Iterator[Step]:
    """What our worker does, for the two read models that the peer keeps."""
    projections = chosen(("invoices", "lines"))
    with closing(PostgresLog(url, pool_size=2)) as log:
        store = PostgresStore(log)
        position = 0

        def step() -> int:
            nonlocal position
            with store.writing() as session:
                followed = follow(session, projections, position, limit=PAGE)
                for one in projections:
                    session.execute(
                        "UPDATE projections SET position = :position WHERE name = :name",
                        {"position": followed.position, "name": one.name},
                    )
            position = followed.position
            return followed.facts

        yield step


WHO = (
    "The peer commits one upsert an event into tables with fewer columns and indexes; it is given "
    f"a {PEER_SHARE}th of the events, and its time is from the first of them to the last. Most "
    "events are of invoices that are there already."
)
PAIRS = (
    Pair(
        name="follow-pg",
        job="take new events into all eight read models, in the background",
        unit="event",
        size=8_000,
        setup=partial(postgres, name="eight_read_models", opens=worker),
        note=f"Target: 15 × as fast as the peer, which keeps invoices and lines alone. {WHO}",
    ),
    Pair(
        name="follow-pg-two",
        job="the same into invoices and lines alone",
        unit="event",
        size=8_000,
        setup=partial(postgres, name="invoices_and_lines", opens=two),
        note=f"Target: 15 × as fast as the peer. {WHO}",
    ),
)
