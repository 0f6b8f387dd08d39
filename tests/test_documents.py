"""Is a print that was kept what was printed, for ever, and does the log say so and nothing else?"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.storage.memory import MemoryStore
from counterfoil.adapters.storage.s3 import S3Store
from counterfoil.billing import Billing, Branding, Tenant, actor
from counterfoil.domain.envelope import Actor, ActorType
from counterfoil.domain.errors import (
    Conflict,
    IntegrityFailed,
    Malformed,
    NotFound,
    ObjectNotFound,
    PdfDisabled,
    StorageNotConfigured,
    Unavailable,
)
from counterfoil.projections.render.sheet import template_digest
from support import postgres
from support.invoices import BUYER, SELLER, WORK, Clock, drafted, issued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from counterfoil.domain.invoice.events import DocumentStored
    from counterfoil.domain.ports import DocumentStore, Label, Sheet
    from support.s3 import S3

LOGO = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'
BLUE, RED = Branding(name="Northwind", colour="#0b5fff"), Branding(colour="#ff0000", logo=LOGO)

FETCH = """
import sys
from counterfoil.billing import Billing

for place in sys.argv[1:]:
    database, documents = place.split(" ")
    with Billing.open(database, documents=documents, pdf=None) as billing:
        sys.stdout.buffer.write(billing.tenant("acme").fetch_invoice_pdf("in_1"))
"""
STORE_AND_DIE = """
import os, signal, sys
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.storage.folder import FolderStore
from counterfoil.billing import Billing

class Last(FolderStore):
    def put(self, key, content, label):
        super().put(key, content, label)
        os.kill(os.getpid(), signal.SIGKILL)

database, documents, invoice = sys.argv[1:]
with Billing.open(database, documents=Last(documents), pdf=RecordingEngine()) as billing:
    billing.tenant("acme").store_invoice_pdf(invoice)
"""


class Shelf(MemoryStore):
    """A store in memory whose keys can be counted, and that can be down."""

    def __init__(self) -> None:
        super().__init__()
        self.down = False
        self.loses_answers = False

    @property
    def keys(self) -> set[str]:
        """All that is kept."""
        return set(self._documents)

    def put(self, key: str, content: bytes, label: Label) -> None:
        """Store, unless it is down."""
        if self.down:
            raise Unavailable("the shelf is down")
        super().put(key, content, label)
        if self.loses_answers:
            raise Unavailable("the shelf does not answer")


@contextmanager
def opened(database: str = ":memory:", **settings: Any) -> Iterator[Billing]:
    """A billing whose prints are only recorded, and whose log and read models hold at its end."""
    settings = {"documents": MemoryStore(), "pdf": RecordingEngine(), "clock": Clock(), **settings}
    with Billing.open(database, seller=SELLER, **settings) as billing:
        yield billing
        assert billing.audit.verify().holds
        assert billing.projections.verify().holds


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine()


@pytest.fixture
def billing(shelf: Shelf, engine: RecordingEngine) -> Iterator[Billing]:
    with opened(documents=shelf, pdf=engine, branding=BLUE) as opened_:
        yield opened_


@pytest.fixture
def acme(billing: Billing) -> Tenant:
    return billing.tenant("acme")


def facts(billing: Billing) -> int:
    return billing.audit.size()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def only(stored: tuple[DocumentStored, ...]) -> DocumentStored:
    (one,) = stored
    return one


# --- where prints are kept ------------------------------------------------------------------


@pytest.fixture(scope="module")
def s3() -> Iterator[S3]:
    from support.s3 import serving  # moto takes a second to load, which only S3 should cost

    with serving() as served:
        yield served


@dataclass(frozen=True, slots=True)
class Place:
    """Where prints are kept, in the hands of somebody who does not care for us."""

    documents: str | DocumentStore
    write: Callable[[str, bytes], object]
    lose: Callable[[str], object]


def in_folder(root: Path) -> Place:
    return Place(
        str(root),
        lambda key, content: root.joinpath(key).write_bytes(content),
        lambda key: root.joinpath(key).unlink(),
    )


def in_bucket(s3: S3, *, metadata: bool) -> Place:
    bucket = s3.bucket()

    def write(key: str, content: bytes) -> None:
        at = {"Bucket": bucket, "Key": f"kept/{key}"}
        known = s3.client.head_object(**at)["Metadata"] if metadata else {}
        s3.client.put_object(**at, Body=content, Metadata=known)

    return Place(
        S3Store(bucket, "kept", client=s3.client),
        write,
        lambda key: s3.client.delete_object(Bucket=bucket, Key=f"kept/{key}"),
    )


@pytest.fixture(params=["folder", "bucket", "bucket that says its SHA-256"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "folder":
        return in_folder(tmp_path / "documents")
    return in_bucket(request.getfixturevalue("s3"), metadata=request.param != "bucket")


def test_what_is_stored_is_fetched_by_another_process_byte_for_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3: S3, postgres_url: str
) -> None:
    from support.s3 import CREDENTIALS

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    bucket = f"s3://{s3.bucket()}/2026?region=us-east-1&endpoint={s3.url}"
    with postgres.ready(postgres_url) as server:
        places = [
            (str(tmp_path / "one.db"), str(tmp_path / "one")),
            (str(tmp_path / "two.db"), bucket),
            (server, str(tmp_path / "three")),
        ]
        printed = [printed_in(database, documents) for database, documents in places]
        assert len(set(printed)) == len(printed)
        fetched = subprocess.run(
            [sys.executable, "-c", FETCH, *map(" ".join, places)],
            capture_output=True,
            check=False,
        )
    assert (fetched.returncode, fetched.stderr) == (0, b"")
    assert fetched.stdout == b"".join(printed)


def printed_in(database: str, documents: str) -> bytes:
    with opened(database, documents=documents) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme, id="in_1", description=f"Kept in {documents}")
        printed = acme.render_invoice_pdf(invoice)
        assert acme.store_invoice_pdf(invoice).sha256 == sha256(printed)
        return printed


def test_a_store_in_memory_may_be_shared_by_two_billings(tmp_path: Path, shelf: Shelf) -> None:
    database = str(tmp_path / "log.db")
    with opened(database, documents=shelf) as billing:
        invoice = issued(billing.tenant("acme"))
        stored = billing.tenant("acme").store_invoice_pdf(invoice)
    with opened(database, documents=shelf, pdf=None) as billing:
        assert sha256(billing.tenant("acme").fetch_invoice_pdf(invoice.id)) == stored.sha256


def test_a_flipped_byte_is_noticed(place: Place) -> None:
    with opened(documents=place.documents) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        stored = acme.store_invoice_pdf(invoice)
        content = acme.fetch_invoice_pdf(invoice)
        for at in (0, len(content) // 2, len(content) - 1):
            flipped = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            place.write(f"acme/{stored.key}", flipped)
            with pytest.raises(IntegrityFailed):
                acme.fetch_invoice_pdf(invoice)
        for other in (content[:-1], content + b"\n", b""):
            place.write(f"acme/{stored.key}", other)
            with pytest.raises(IntegrityFailed):
                acme.fetch_invoice_pdf(invoice, key=stored.key)
        place.write(f"acme/{stored.key}", content)
        assert acme.fetch_invoice_pdf(invoice) == content


def test_what_was_lost_is_not_found_and_can_be_stored_again(place: Place) -> None:
    with opened(documents=place.documents) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        stored = acme.store_invoice_pdf(invoice)
        place.lose(f"acme/{stored.key}")
        with pytest.raises(ObjectNotFound):
            acme.fetch_invoice_pdf(invoice)
        assert acme.store_invoice_pdf(invoice) == stored
        assert sha256(acme.fetch_invoice_pdf(invoice)) == stored.sha256
        assert len(acme.stored_invoice_pdfs(invoice)) == 1


def test_a_damaged_print_is_left_alone_and_a_good_one_goes_beside_it(tmp_path: Path) -> None:
    place = in_folder(tmp_path)
    with opened(documents=place.documents) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        first = acme.store_invoice_pdf(invoice)
        place.write(f"acme/{first.key}", b"damaged")
        second = acme.store_invoice_pdf(invoice)
        assert second.key != first.key
        assert sha256(acme.fetch_invoice_pdf(invoice)) == first.sha256
        assert (tmp_path / "acme" / first.key).read_bytes() == b"damaged"


def test_a_link_leads_to_what_was_kept_last(tmp_path: Path) -> None:
    with opened(documents=tmp_path) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        first = acme.store_invoice_pdf(invoice)
        acme.record_payment(invoice.id, amount="10.00")
        second = acme.store_invoice_pdf(invoice)
        assert acme.link_invoice_pdf(invoice).endswith(f"/acme/{second.key}")
        assert acme.link_invoice_pdf(invoice.id, key=first.key).endswith(f"/acme/{first.key}")
        for wrong in (0, -1, 7 * 24 * 3600 + 1, 1.5, "600", True):
            with pytest.raises(Malformed, match="valid_s"):
                acme.link_invoice_pdf(invoice, valid_s=wrong)  # type: ignore[arg-type]
        with pytest.raises(ObjectNotFound):
            acme.link_invoice_pdf(invoice, key="invoices/another.pdf")


def test_a_link_of_s3_names_the_file_by_its_number(s3: S3) -> None:
    with opened(documents=S3Store(s3.bucket(), client=s3.client)) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        acme.store_invoice_pdf(invoice)
        assert f"{invoice.number}.pdf" in acme.link_invoice_pdf(invoice, valid_s=60)
        assert "X-Amz-Expires=60" in acme.link_invoice_pdf(invoice, valid_s=60)


# --- what was never kept --------------------------------------------------------------------


def test_what_is_not_there_is_named_by_what_is_missing(acme: Tenant, billing: Billing) -> None:
    invoice = issued(acme)
    note = acme.issue_credit_note(invoice.id, amount="10.00")
    for nothing_stored in (
        lambda: acme.fetch_invoice_pdf(invoice),
        lambda: acme.fetch_invoice_pdf(invoice, key="invoices/another.pdf"),
        lambda: acme.link_invoice_pdf(invoice),
        lambda: acme.fetch_credit_note_pdf(note),
    ):
        with pytest.raises(ObjectNotFound, match="was stored"):
            nothing_stored()
    acme.store_invoice_pdf(invoice)
    stranger = billing.tenant("other")
    for no_invoice in (
        lambda: acme.fetch_invoice_pdf("in_none"),
        lambda: acme.render_invoice_pdf("in_none"),
        lambda: acme.store_invoice_pdf("in_none"),
        lambda: acme.fetch_invoice_pdf(note.id),
        lambda: acme.fetch_credit_note_pdf(invoice.id),
        lambda: acme.stored_invoice_pdfs("../in_1"),
        lambda: stranger.fetch_invoice_pdf(invoice),
        lambda: stranger.render_invoice_pdf(invoice),
        lambda: stranger.store_invoice_pdf(invoice.id),
        lambda: stranger.stored_invoice_pdfs(invoice.id),
        lambda: stranger.link_invoice_pdf(invoice.id),
        lambda: stranger.fetch_credit_note_pdf(note),
    ):
        with pytest.raises(NotFound):
            no_invoice()


def test_without_a_store_nothing_is_kept_and_the_answer_says_so() -> None:
    with opened(documents=None) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        before = facts(billing)
        stored = acme.store_invoice_pdf(invoice)
        assert not stored.persisted
        assert stored.sha256 == sha256(acme.render_invoice_pdf(invoice))
        assert facts(billing) == before
        assert acme.stored_invoice_pdfs(invoice) == ()
        for refused in (acme.fetch_invoice_pdf, acme.link_invoice_pdf):
            with pytest.raises(StorageNotConfigured):
                refused(invoice)
        with pytest.raises(NotFound):
            acme.fetch_invoice_pdf("in_none")


def test_who_opens_without_the_store_of_before_is_told_so(tmp_path: Path) -> None:
    database = str(tmp_path / "log.db")
    with opened(database, documents=tmp_path / "documents") as billing:
        invoice = issued(billing.tenant("acme"))
        billing.tenant("acme").store_invoice_pdf(invoice)
    with opened(database, documents=None) as billing:
        for refused in (
            billing.tenant("acme").fetch_invoice_pdf,
            billing.tenant("acme").link_invoice_pdf,
        ):
            with pytest.raises(StorageNotConfigured):
                refused(invoice)


def test_a_render_leaves_nothing_behind(
    acme: Tenant, billing: Billing, shelf: Shelf, engine: RecordingEngine
) -> None:
    invoice, draft = issued(acme), drafted(acme)
    note = acme.issue_credit_note(invoice.id, amount="10.00")
    before = facts(billing)
    acme.render_invoice_pdf(invoice)
    acme.render_invoice_pdf(draft, archival=True)
    acme.render_credit_note_pdf(note)
    acme.render_invoice_html(invoice)
    assert len(engine.sheets) == 3
    assert shelf.keys == set()
    assert facts(billing) == before


# --- what is recorded -----------------------------------------------------------------------


def test_the_fact_says_all_that_proves_the_print(acme: Tenant, engine: RecordingEngine) -> None:
    invoice = issued(acme)
    stored = acme.store_invoice_pdf(
        invoice, archival=True, size="Letter landscape", margin_top="2cm", header_html="<b>Hi</b>"
    )
    fact = only(acme.stored_invoice_pdfs(invoice))
    content = acme.fetch_invoice_pdf(invoice)
    assert (fact.key, fact.sha256, fact.size) == (stored.key, stored.sha256, stored.size)
    assert (stored.sha256, stored.size) == (sha256(content), len(content))
    assert stored.persisted
    assert fact.options == {
        "archival": "True",
        "size": "Letter landscape",
        "margin_top": "20.00mm",
        "header_html": f"sha256 {sha256(b'<b>Hi</b>')}",
    }
    assert fact.branding == BLUE.digest
    assert fact.renderer == f"{engine.fingerprint}, template {template_digest()[:16]}"
    assert fact.version == invoice.version
    assert acme.invoices.get(invoice.id).version == invoice.version + 1


def test_the_fact_says_who_kept_it(acme: Tenant, billing: Billing) -> None:
    invoice = issued(acme)
    with actor("user", "u_42", cause="button", correlation="request-7"):
        acme.store_invoice_pdf(invoice, command_id="store-1")
    envelope = billing.log.read("acme", invoice.id)[-1].envelope
    assert envelope.actor == Actor(type=ActorType.USER, id="u_42")
    assert (envelope.causation_id, envelope.correlation_id) == ("button", "request-7")
    assert envelope.command_id == "store-1"


def test_storing_twice_is_one_fact(acme: Tenant, billing: Billing, shelf: Shelf) -> None:
    invoice = issued(acme)
    first = acme.store_invoice_pdf(invoice)
    before = facts(billing)
    assert acme.store_invoice_pdf(invoice.id) == first
    with ThreadPoolExecutor(4) as threads:
        again = list(threads.map(acme.store_invoice_pdf, [invoice] * 8))
    assert again == [first] * 8
    assert facts(billing) == before
    assert shelf.keys == {f"acme/{first.key}"}


def test_many_who_store_an_invoice_first_leave_one_fact(tmp_path: Path) -> None:
    with opened(str(tmp_path / "log.db"), documents=tmp_path / "documents") as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        with ThreadPoolExecutor(6) as threads:
            stored = set(threads.map(acme.store_invoice_pdf, [invoice] * 6))
        assert len(stored) == 1
        only(acme.stored_invoice_pdfs(invoice))


def test_a_changed_invoice_goes_beside_and_the_first_print_stays(acme: Tenant) -> None:
    invoice = issued(acme)
    first = acme.store_invoice_pdf(invoice)
    original = acme.fetch_invoice_pdf(invoice)
    acme.record_payment(invoice.id, amount="10.00")
    second = acme.store_invoice_pdf(invoice)
    assert first.key == f"invoices/{invoice.id}.pdf"
    assert second.key == f"invoices/{invoice.id}.{second.sha256[:16]}.pdf"
    assert acme.store_invoice_pdf(invoice) == second
    assert [one.key for one in acme.stored_invoice_pdfs(invoice)] == [first.key, second.key]
    assert sha256(acme.fetch_invoice_pdf(invoice)) == second.sha256
    assert acme.fetch_invoice_pdf(invoice, key=first.key) == original
    paid = acme.invoices.get(invoice.id).version
    assert [one.version for one in acme.stored_invoice_pdfs(invoice)] == [invoice.version, paid - 1]


@pytest.mark.parametrize("between", ["another branding", "other options"])
def test_what_is_fetched_is_what_was_stored_last_even_if_it_was_stored_before(between: str) -> None:
    brandings = [BLUE, RED if between == "another branding" else BLUE, BLUE]
    with opened(branding=lambda _: brandings[0]) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        acme.store_invoice_pdf(invoice)
        del brandings[0]
        acme.store_invoice_pdf(invoice, archival=between == "other options")
        del brandings[0]
        last = acme.store_invoice_pdf(invoice)
        assert sha256(acme.fetch_invoice_pdf(invoice)) == last.sha256


# --- keys -----------------------------------------------------------------------------------


def test_keys_name_what_is_printed_and_how(acme: Tenant) -> None:
    draft, invoice = drafted(acme, id="in_draft"), issued(acme, id="in_1")
    assert acme.store_invoice_pdf(draft).key == "invoices/in_draft.draft.pdf"
    assert acme.store_invoice_pdf(invoice).key == "invoices/in_1.pdf"
    keys = [
        acme.store_invoice_pdf(invoice, **options).key
        for options in (
            {"locale": "de-AT"},
            {"archival": True},
            {"size": "A4 landscape"},
            {"locale": "fr", "archival": True, "size": "Letter"},
            {"margin_top": "20mm"},
            {"margin_top": "21mm"},
            {"timezone": "Europe/Berlin"},
            {"header_html": "<b>A</b>"},
            {"header_html": "<b>B</b>"},
            {"paper_width": 100, "paper_height": 150},
        )
    ]
    assert keys[:4] == [
        "invoices/in_1.de-AT.pdf",
        "invoices/in_1.archival.pdf",
        "invoices/in_1.a4-landscape.pdf",
        "invoices/in_1.fr.archival.letter.pdf",
    ]
    assert len(set(keys)) == len(keys)
    for key in keys[4:]:
        assert re.fullmatch(r"invoices/in_1\.[0-9a-f]{8}\.pdf", key)
    assert len(acme.stored_invoice_pdfs(invoice)) == 11


def test_a_draft_that_is_finalized_leaves_its_print_as_it_was(acme: Tenant) -> None:
    draft = drafted(acme, id="in_1")
    first = acme.store_invoice_pdf(draft)
    acme.add_line(draft.id, description="More", quantity=1, unit_price="5.00", tax=WORK.tax)
    second = acme.store_invoice_pdf(draft)
    acme.finalize_invoice(draft.id)
    third = acme.store_invoice_pdf(draft)
    assert first.key == "invoices/in_1.draft.pdf"
    assert second.key == f"invoices/in_1.draft.{second.sha256[:16]}.pdf"
    assert third.key == "invoices/in_1.pdf"
    for one in (first, second, third):
        assert sha256(acme.fetch_invoice_pdf(draft, key=one.key)) == one.sha256


NAMES = [
    "in_a/b",
    "in_/../../etc",
    "in_..",
    "in_../../in_1",
    "in_%2F",
    "in_%2e%2e",
    "in_a.b.pdf",
    "in_a.draft",
    "in_a.archival",
    "in_a",
    "in_A",
    "in_" + "a" * 97,
    "in_" + "/" * 97,
    "in_" + "/" * 96 + "a",
    "in_\\..\\",
    "in_'\"`$(x);&|<>?*#",
    pytest.param(
        "in_a~b",
    ),
]


@pytest.mark.parametrize("name", NAMES)
def test_an_invoice_of_any_name_is_kept_below_its_tenant(tmp_path: Path, name: str) -> None:
    root = tmp_path / "documents"
    with opened(documents=root) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme, id=name)
        stored = acme.store_invoice_pdf(invoice)
        archived = acme.store_invoice_pdf(invoice, archival=True)
        assert sha256(acme.fetch_invoice_pdf(name)) == archived.sha256
        assert sha256(acme.fetch_invoice_pdf(name, key=stored.key)) == stored.sha256
        assert stored.key != archived.key
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert len(files) == 2
    assert {one.parent for one in files} == {root / "acme" / "invoices"}


def test_names_that_look_like_options_do_not_take_each_others_place(acme: Tenant) -> None:
    plain = issued(acme, id="in_a")
    others = [issued(acme, id=f"in_a.{word}") for word in ("archival", "draft", "de")]
    stored = [
        (one.id, acme.store_invoice_pdf(one)) for one in others
    ] + [
        (plain.id, acme.store_invoice_pdf(plain, **options))
        for options in ({"archival": True}, {"locale": "de"}, {"locale": "de_DE"}, {"locale": "DE"})
    ]  # fmt: skip
    for name, one in stored:
        assert sha256(acme.fetch_invoice_pdf(name, key=one.key)) == one.sha256


def test_the_longest_key_that_there_can_be_is_one(acme: Tenant) -> None:
    invoice = drafted(acme, id="in_" + "/" * 25 + "a" * 72)
    options: Any = {
        "locale": "de-" + "x" * 30,
        "archival": True,
        "size": "letter landscape",
        "margin_top": "20mm",
    }
    first = acme.store_invoice_pdf(invoice, **options)
    acme.add_line(invoice.id, description="More", quantity=1, unit_price="5.00", tax=WORK.tax)
    second = acme.store_invoice_pdf(invoice, **options)
    for one in (first, second):
        assert sha256(acme.fetch_invoice_pdf(invoice, key=one.key)) == one.sha256


TENANTS = [
    *("acme", "ACME", ".", "..", "...", "%2E%2E", "a%2Fb", "..\\..", "a.b", "www.example.com"),
    *("a" * 100, "acme@example.com", "-", "invoices"),
]


def test_tenants_with_the_same_ids_have_each_their_own(tmp_path: Path) -> None:
    root = tmp_path / "documents"
    with opened(documents=root) as billing:
        kept = {}
        for place, name in enumerate(TENANTS):
            tenant = billing.tenant(name)
            buyer = BUYER.model_copy(update={"name": f"Buyer {place}"})
            issued(tenant, [WORK], id="in_1", customer=buyer)
            kept[name] = tenant.store_invoice_pdf("in_1")
        assert {one.key for one in kept.values()} == {"invoices/in_1.pdf"}
        assert len({one.sha256 for one in kept.values()}) == len(TENANTS)
        for name, one in kept.items():
            assert sha256(billing.tenant(name).fetch_invoice_pdf("in_1")) == one.sha256
    files = [one for one in tmp_path.rglob("*") if one.is_file()]
    assert len(files) == len(TENANTS)
    assert all(len(one.relative_to(root).parts) == 3 for one in files)


@pytest.mark.parametrize(
    "name",
    [
        "a~b",
        "!" * 100,
        "." * 67,
    ],
)
def test_a_tenant_of_any_name_can_keep_prints(name: str) -> None:
    with opened() as billing:
        tenant = billing.tenant(name)
        stored = tenant.store_invoice_pdf(issued(tenant, [WORK], id="in_1"))
        assert sha256(tenant.fetch_invoice_pdf("in_1")) == stored.sha256


# --- calls ----------------------------------------------------------------------------------


def test_a_repeat_of_a_request_is_answered_alike_and_stores_nothing(
    acme: Tenant, billing: Billing, shelf: Shelf
) -> None:
    invoice = issued(acme)
    first = acme.store_invoice_pdf(invoice, command_id="one")
    before = facts(billing)
    assert acme.store_invoice_pdf(invoice.id, command_id="one") == first
    assert facts(billing) == before
    assert len(shelf.keys) == 1
    with pytest.raises(Malformed, match="command_id"):
        acme.store_invoice_pdf(invoice, command_id="one", archival=True)
    with pytest.raises(Malformed, match="command_id"):
        acme.store_invoice_pdf(issued(acme), command_id="one")


def test_a_repeat_after_a_change_gets_the_first_answer(acme: Tenant) -> None:
    invoice = issued(acme)
    first = acme.store_invoice_pdf(invoice, command_id="one")
    acme.record_payment(invoice.id, amount="10.00")
    assert acme.store_invoice_pdf(invoice, command_id="one") == first


def test_an_answer_can_always_be_fetched(acme: Tenant) -> None:
    invoice = issued(acme)
    for command_id in ("one", "two"):
        stored = acme.store_invoice_pdf(invoice, command_id=command_id)
        assert sha256(acme.fetch_invoice_pdf(invoice, key=stored.key)) == stored.sha256
        acme.record_payment(invoice.id, amount="10.00")


def test_nothing_is_recorded_when_another_version_was_expected(
    acme: Tenant, billing: Billing
) -> None:
    invoice = issued(acme)
    acme.record_payment(invoice.id, amount="10.00")
    before = facts(billing)
    with pytest.raises(Conflict, match="expected was"):
        acme.store_invoice_pdf(invoice, expected_version=invoice.version)
    assert facts(billing) == before
    acme.store_invoice_pdf(invoice, expected_version=acme.invoices.get(invoice.id).version)
    assert facts(billing) == before + 1


def test_what_is_printed_is_the_version_that_was_expected() -> None:
    with opened(projections="async") as billing:
        acme = billing.tenant("acme")
        draft = drafted(acme)
        billing.projections.run()
        invoice = acme.finalize_invoice(draft.id)
        try:
            acme.store_invoice_pdf(invoice, expected_version=invoice.version)
        except (Conflict, Unavailable):
            recorded = []
        else:
            recorded = [one.version for one in acme.stored_invoice_pdfs(invoice)]
        billing.projections.run()
        assert recorded in ([], [invoice.version])


WRONG_CALLS: list[dict[str, Any]] = [
    {"command_id": "two words"},
    {"command_id": ""},
    {"expected_version": "3"},
    {"wait_s": -1},
]


@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_what_is_no_call_is_refused_and_not_recorded(
    acme: Tenant, billing: Billing, wrong: dict[str, Any]
) -> None:
    invoice = issued(acme)
    before = facts(billing)
    with pytest.raises(Malformed, match=next(iter(wrong))):
        acme.store_invoice_pdf(invoice, **wrong)
    assert facts(billing) == before


@pytest.mark.parametrize("wrong", WRONG_CALLS)
def test_what_is_no_call_is_refused_before_anything_is_printed_or_kept(
    acme: Tenant, shelf: Shelf, engine: RecordingEngine, wrong: dict[str, Any]
) -> None:
    invoice = issued(acme)
    with pytest.raises(Malformed):
        acme.store_invoice_pdf(invoice, **wrong)
    assert engine.sheets == []
    assert shelf.keys == set()


def test_what_is_no_call_is_refused_without_a_store_too() -> None:
    with opened(documents=None) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        with pytest.raises(Malformed):
            acme.store_invoice_pdf(invoice, command_id="two words")


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        ("size", {"size": "A9"}),
        ("margin_top", {"margin_top": "much"}),
        ("margin_left", {"margin_left": "180mm"}),
        ("paper_width", {"paper_width": "100mm"}),
        ("archival", {"archival": "yes"}),
        ("colour", {"colour": "red"}),
        ("header_html", {"header_html": 5}),
        ("expected_versoin", {"expected_versoin": 3}),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_printed(
    acme: Tenant, shelf: Shelf, engine: RecordingEngine, field: str, wrong: dict[str, Any]
) -> None:
    invoice = issued(acme)
    for verb in (acme.render_invoice_pdf, acme.store_invoice_pdf, acme.render_invoice_html):
        with pytest.raises(Malformed, match=field):
            verb(invoice, **wrong)
    assert engine.sheets == []
    assert shelf.keys == set()


# --- which state, which branding ------------------------------------------------------------


def test_an_invoice_that_was_read_before_is_printed_as_it_is_now(acme: Tenant) -> None:
    draft = drafted(acme)
    stale = acme.finalize_invoice(draft.id)
    before = acme.render_invoice_pdf(stale)
    acme.record_payment(stale.id, amount="10.00")
    now = acme.render_invoice_pdf(stale.id)
    assert now != before
    assert acme.render_invoice_pdf(stale) == acme.render_invoice_pdf(draft) == now
    stored = acme.store_invoice_pdf(draft)
    assert (stored.key, stored.sha256) == (f"invoices/{stale.id}.pdf", sha256(now))


def test_a_deleted_draft_is_not_printed_any_more(acme: Tenant, shelf: Shelf) -> None:
    draft = drafted(acme)
    acme.delete_draft(draft.id)
    for verb in (acme.render_invoice_pdf, acme.store_invoice_pdf, acme.render_invoice_html):
        with pytest.raises(NotFound):
            verb(draft)
    assert shelf.keys == set()


def test_the_branding_of_a_tenant_is_asked_once_for_each_print(shelf: Shelf) -> None:
    asked: list[str] = []

    def branding(tenant: str) -> Branding:
        asked.append(tenant)
        return BLUE if tenant == "acme" else RED

    engine = RecordingEngine()
    with opened(documents=shelf, pdf=engine, branding=branding) as billing:
        acme, other = billing.tenant("acme"), billing.tenant("other")
        invoice, theirs = issued(acme), issued(other)
        note = acme.issue_credit_note(invoice.id, amount="10.00")
        assert asked == []
        for verb in (acme.render_invoice_pdf, acme.store_invoice_pdf, acme.render_invoice_html):
            verb(invoice)
        acme.render_credit_note_pdf(note)
        acme.store_credit_note_pdf(note)
        assert asked == ["acme"] * 5
        other.store_invoice_pdf(theirs)
        assert asked[5:] == ["other"]
        assert only(acme.stored_invoice_pdfs(invoice)).branding == BLUE.digest
        assert only(other.stored_invoice_pdfs(theirs)).branding == RED.digest
        assert engine.sheets[-1].images[0].media_type == "image/svg+xml"
        acme.fetch_invoice_pdf(invoice)
        assert len(asked) == 6


def test_a_branding_that_changes_during_a_print_is_that_of_the_next() -> None:
    current = [BLUE]

    class Painter(RecordingEngine):
        """Somebody chooses another colour while this one prints."""

        def render(self, sheet: Sheet) -> bytes:
            current[0] = RED
            return super().render(sheet)

    engine = Painter()
    with opened(pdf=engine, branding=lambda _: current[0]) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        first, second = acme.store_invoice_pdf(invoice), acme.store_invoice_pdf(invoice)
        recorded = [one.branding for one in acme.stored_invoice_pdfs(invoice)]
        assert recorded == [BLUE.digest, RED.digest]
        assert BLUE.colour in engine.sheets[0].styles[1]
        assert RED.colour in engine.sheets[1].styles[1]
        assert second.key == f"invoices/{invoice.id}.{second.sha256[:16]}.pdf"
        assert sha256(acme.fetch_invoice_pdf(invoice, key=first.key)) == first.sha256


# --- credit notes ---------------------------------------------------------------------------


def test_a_credit_note_is_kept_as_an_invoice_is(
    acme: Tenant, billing: Billing, shelf: Shelf, engine: RecordingEngine
) -> None:
    invoice = issued(acme)
    note = acme.issue_credit_note(invoice.id, amount="10.00", id="cn_1")
    with actor("user", "u_42"):
        first = acme.store_credit_note_pdf(note, command_id="one")
    assert first.key == "credit_notes/cn_1.pdf"
    assert acme.store_credit_note_pdf(note.id, command_id="one") == first
    (fact,) = acme.stored_credit_note_pdfs(note)
    content = acme.fetch_credit_note_pdf(note)
    assert (fact.key, fact.sha256, fact.size) == (first.key, sha256(content), len(content))
    assert (fact.options, fact.branding, fact.version) == ({}, BLUE.digest, note.version)
    assert fact.renderer.startswith(engine.fingerprint)
    assert billing.log.read("acme", "cn_1")[-1].envelope.actor.id == "u_42"
    acme.void_credit_note(note.id, reason="typing error")
    second = acme.store_credit_note_pdf(note, locale="de")
    third = acme.store_credit_note_pdf(note)
    assert second.key == "credit_notes/cn_1.de.pdf"
    assert third.key == f"credit_notes/cn_1.{third.sha256[:16]}.pdf"
    assert [one.key for one in acme.stored_credit_note_pdfs("cn_1")] == [
        *(first.key, second.key, third.key)
    ]
    assert acme.fetch_credit_note_pdf(note, key=first.key) == content
    with pytest.raises(Conflict):
        acme.store_credit_note_pdf(note, archival=True, expected_version=1)
    assert acme.stored_invoice_pdfs(invoice) == ()
    assert {one.split("/")[1] for one in shelf.keys} == {"credit_notes"}


def test_a_credit_note_has_a_link(tmp_path: Path) -> None:
    with opened(documents=tmp_path) as billing:
        acme = billing.tenant("acme")
        note = acme.issue_credit_note(issued(acme).id, amount="10.00")
        stored = acme.store_credit_note_pdf(note)
        link = acme.link_credit_note_pdf(note)
        assert link.endswith(stored.key)


# --- what goes wrong ------------------------------------------------------------------------


def test_a_store_that_is_down_records_nothing_and_the_next_try_goes_on(
    acme: Tenant, billing: Billing, shelf: Shelf
) -> None:
    invoice = issued(acme)
    before = facts(billing)
    shelf.down = True
    with pytest.raises(Unavailable):
        acme.store_invoice_pdf(invoice, command_id="one")
    assert facts(billing) == before
    with pytest.raises(ObjectNotFound):
        acme.fetch_invoice_pdf(invoice)
    shelf.down = False
    stored = acme.store_invoice_pdf(invoice, command_id="one")
    assert stored.key == f"invoices/{invoice.id}.pdf"
    assert facts(billing) == before + 1


@pytest.mark.parametrize("changed", [False, True])
def test_a_print_that_was_put_and_not_recorded_does_no_harm(
    acme: Tenant, shelf: Shelf, changed: bool
) -> None:
    invoice = issued(acme)
    shelf.loses_answers = True
    with pytest.raises(Unavailable):
        acme.store_invoice_pdf(invoice)
    assert acme.stored_invoice_pdfs(invoice) == ()
    assert shelf.keys == {f"acme/invoices/{invoice.id}.pdf"}
    shelf.loses_answers = False
    if changed:
        acme.record_payment(invoice.id, amount="10.00")
    stored = acme.store_invoice_pdf(invoice)
    assert (stored.key == f"invoices/{invoice.id}.pdf") is not changed
    assert only(acme.stored_invoice_pdfs(invoice)).key == stored.key
    assert sha256(acme.fetch_invoice_pdf(invoice)) == stored.sha256


def test_a_kill_between_the_store_and_the_log_does_no_harm(tmp_path: Path) -> None:
    database, root = str(tmp_path / "log.db"), tmp_path / "documents"
    with opened(database, documents=root) as billing:
        invoice = issued(billing.tenant("acme"))
    killed = subprocess.run(
        [sys.executable, "-c", STORE_AND_DIE, database, str(root), invoice.id],
        check=False,
        capture_output=True,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (root / "acme" / "invoices" / f"{invoice.id}.pdf").exists()
    with opened(database, documents=root) as billing:
        acme = billing.tenant("acme")
        assert acme.stored_invoice_pdfs(invoice) == ()
        with pytest.raises(ObjectNotFound):
            acme.fetch_invoice_pdf(invoice)
        stored = acme.store_invoice_pdf(invoice)
        assert stored.key == f"invoices/{invoice.id}.pdf"
        assert only(acme.stored_invoice_pdfs(invoice)).key == stored.key
        assert sha256(acme.fetch_invoice_pdf(invoice)) == stored.sha256


@pytest.mark.parametrize("mode", ["inline", "async"])
@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_whole_life_with_prints_holds(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str, mode: str
) -> None:
    if kind == "sqlite":
        live_through(str(tmp_path / "log.db"), mode)
        return
    with postgres.ready(request.getfixturevalue("postgres_url")) as url:
        live_through(url, mode)


def live_through(database: str, mode: str) -> None:
    with opened(database, projections=mode) as billing:
        acme, catch_up = billing.tenant("acme"), billing.projections.run
        draft = drafted(acme)
        catch_up()
        printed = [acme.store_invoice_pdf(draft)]
        acme.finalize_invoice(draft.id)
        catch_up()
        printed.append(acme.store_invoice_pdf(draft, command_id="one"))
        printed.append(acme.store_invoice_pdf(draft, archival=True))
        acme.record_payment(draft.id, amount="10.00")
        note = acme.issue_credit_note(draft.id, amount="5.00")
        catch_up()
        acme.store_credit_note_pdf(note)
        printed.append(acme.store_invoice_pdf(draft))
        acme.void_credit_note(note.id)
        catch_up()
        acme.store_credit_note_pdf(note)
        printed.append(acme.store_invoice_pdf(draft))
        catch_up()
        assert [one.key for one in acme.stored_invoice_pdfs(draft)] == [one.key for one in printed]
        for one in printed:
            assert sha256(acme.fetch_invoice_pdf(draft, key=one.key)) == one.sha256
        assert len(acme.stored_credit_note_pdfs(note)) == 2
        recorded = billing.log.read("acme", draft.id)
        assert acme.invoices.get(draft.id).version == recorded[-1].envelope.version


# --- how a billing is opened ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "wrong"),
    [
        *(("documents", wrong) for wrong in (5, b"documents", object(), ["a"], "", "a\0")),
        *(("documents", wrong) for wrong in (True, "gs://a", "s3://", "s3://a b/c", "s3://abc?x=y")),
        *(("pdf", wrong) for wrong in (5, "", "chrome", object(), ["weasyprint"], False)),
        *(("branding", wrong) for wrong in (5, "Northwind", {"name": "Northwind"}, object())),
    ],
)  # fmt: skip
def test_what_cannot_print_or_keep_is_refused_when_a_billing_is_opened(
    tmp_path: Path, field: str, wrong: Any
) -> None:
    database = tmp_path / "log.db"
    with pytest.raises(Malformed, match=field):
        Billing.open(database, **{field: wrong})
    assert not database.exists()


class Half:
    """Neither an engine nor a store: it lacks what it is asked for later."""

    def render(self, sheet: Sheet) -> bytes:
        raise NotImplementedError

    def put(self, key: str, content: bytes, label: Label) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    "wrong", [{"pdf": Half()}, {"documents": Half()}, {"pdf": RecordingEngine}]
)
def test_half_an_engine_or_store_is_none(wrong: dict[str, Any]) -> None:
    with pytest.raises(Malformed):
        Billing.open(":memory:", **wrong)


@pytest.mark.parametrize("given", [None, "blue", {"colour": "#0b5fff"}])
def test_a_function_that_gives_no_branding_is_named(given: object) -> None:
    with opened(branding=lambda _: given) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        with pytest.raises(Malformed, match="branding"):
            acme.render_invoice_pdf(invoice)


class Stamp:
    """An engine of somebody's own."""

    fingerprint = "stamp 7"

    def render(self, sheet: Sheet) -> bytes:
        """As little as there can be."""
        return b"%PDF- " + sheet.html[:15].encode()

    def close(self) -> None:
        """Nothing to give back."""


def test_an_engine_and_a_store_of_ones_own_are_used(shelf: Shelf) -> None:
    with opened(documents=shelf, pdf=Stamp()) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        assert acme.render_invoice_pdf(invoice).startswith(b"%PDF- <html")
        acme.store_invoice_pdf(invoice)
        assert only(acme.stored_invoice_pdfs(invoice)).renderer.startswith("stamp 7, template ")
        assert shelf.keys == {f"acme/invoices/{invoice.id}.pdf"}


def prints(tenant: Tenant, invoice: str) -> list[Callable[[], object]]:
    """All ways to a PDF, of what is there and of what is not."""
    return [
        lambda: tenant.render_invoice_pdf(invoice),
        lambda: tenant.store_invoice_pdf(invoice),
        lambda: tenant.render_invoice_pdf("in_none"),
        lambda: tenant.render_credit_note_pdf("cn_none"),
        lambda: tenant.store_credit_note_pdf("cn_none"),
        lambda: tenant.render_invoice_pdf(invoice, size="A9"),
    ]


def test_who_wants_no_pdf_is_told_at_once_and_where_to_read_on(tmp_path: Path) -> None:
    database = str(tmp_path / "log.db")
    with opened(database, documents=tmp_path / "documents") as billing:
        invoice = issued(billing.tenant("acme"))
        stored = billing.tenant("acme").store_invoice_pdf(invoice)
    for pdf in (None, "none"):
        with opened(database, documents=tmp_path / "documents", pdf=pdf) as billing:
            acme = billing.tenant("acme")
            for refused in prints(acme, invoice.id):
                with pytest.raises(PdfDisabled, match="adapter_disabled") as raised:
                    refused()
                assert raised.value.reason == "adapter_disabled"
                assert "README" in raised.value.docs
            assert sha256(acme.fetch_invoice_pdf(invoice)) == stored.sha256
            assert acme.link_invoice_pdf(invoice).endswith(stored.key)
            assert acme.render_invoice_html(invoice).startswith("<!DOCTYPE html>")
    assert "\n## Documents\n" in Path(__file__).parents[1].joinpath("README.md").read_text("utf-8")


def test_a_service_names_its_documents_and_its_engine_in_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COUNTERFOIL_DATABASE", "log.db")
    with opened("log.db", documents="there") as billing:
        invoice = issued(billing.tenant("acme"))
        stored = billing.tenant("acme").store_invoice_pdf(invoice)
    monkeypatch.setenv("COUNTERFOIL_DOCUMENTS", "there")
    monkeypatch.setenv("COUNTERFOIL_PDF", "none")
    with Billing.from_env() as billing:
        acme = billing.tenant("acme")
        assert sha256(acme.fetch_invoice_pdf(invoice)) == stored.sha256
        with pytest.raises(PdfDisabled):
            acme.render_invoice_pdf(invoice)
    monkeypatch.setenv("COUNTERFOIL_DOCUMENTS", "none")
    with Billing.from_env() as billing, pytest.raises(StorageNotConfigured):
        billing.tenant("acme").fetch_invoice_pdf(invoice)
    monkeypatch.delenv("COUNTERFOIL_DOCUMENTS")
    with Billing.from_env() as billing, pytest.raises(ObjectNotFound):
        billing.tenant("acme").fetch_invoice_pdf(invoice)
    for name, wrong in (("DOCUMENTS", ""), ("DOCUMENTS", "gs://a"), ("PDF", "chrome"), ("PDF", "")):
        with monkeypatch.context() as also:
            also.setenv(f"COUNTERFOIL_{name}", wrong)
            with pytest.raises(Malformed, match=name.lower()):
                Billing.from_env()
    assert sorted(os.listdir(tmp_path)) == ["log.db", "there"]  # noqa: PTH208


# --- for a screen ---------------------------------------------------------------------------


class References(HTMLParser):
    """All that a page refers to, and the text of its style sheets."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.addresses: list[str] = []
        self.styles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        for name, value in attrs:
            if name in {"src", "href", "srcset", "data", "poster", "background", "action"}:
                self.addresses.append(value or "")
            if name == "style":
                self.styles.append(value or "")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.styles.append(data)


@pytest.mark.parametrize("branding", [BLUE, RED])
def test_the_page_for_a_screen_refers_to_nothing_outside_itself(branding: Branding) -> None:
    with opened(branding=branding) as billing:
        acme = billing.tenant("acme")
        invoice = issued(acme)
        page = acme.render_invoice_html(invoice, header_html="<b>Northwind</b>")
    read = References()
    read.feed(page)
    assert invoice.number is not None
    assert invoice.number in page
    assert "asset:" not in page
    assert not read.elements & {"link", "script", "iframe", "object", "embed", "base"}
    assert len(read.addresses) == (2 if branding.logo else 1)  # the logo, and the payment code
    assert all(address.startswith("data:image/") for address in read.addresses)
    style = "".join(read.styles)
    assert branding.colour in style
    assert "@import" not in style
    assert "@font-face" not in style
    assert "url(" not in style
