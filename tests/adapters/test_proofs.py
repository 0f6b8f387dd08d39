"""Is everything found that a verification looks at, and does a proof hold without a database?"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from counterfoil.adapters.audit import (
    Broken,
    Checkpoint,
    Consistency,
    Inclusion,
    read_proof,
    signing,
    walk,
)
from counterfoil.adapters.cli.main import main
from counterfoil.adapters.event_store.chain import GENESIS, link
from counterfoil.adapters.event_store.rows import COLUMNS, Row
from counterfoil.adapters.pdf.recording import RecordingEngine
from counterfoil.adapters.storage.folder import FolderStore
from counterfoil.adapters.storage.memory import MemoryStore
from counterfoil.billing import Billing
from counterfoil.domain import Customer, NewLine, Seller, Tax
from counterfoil.domain.errors import (
    Conflict,
    IntegrityFailed,
    Malformed,
    NotFound,
    StorageNotConfigured,
    Unavailable,
)
from support import databases

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from counterfoil.adapters.audit import Report
    from counterfoil.domain.ports import DocumentStore

LINE = NewLine(description="Work", quantity=1, unit_price="10.00", tax=Tax(rate="19"))
ADA = Customer(id="cus_1", name="Ada")
_TRIGGERS = ("facts_are_not_changed", "facts_are_not_deleted", "facts_are_added_in_order")


@dataclass(frozen=True, slots=True)
class Log:
    """A log of finished invoices, and the superuser's way into it."""

    url: str

    @property
    def is_postgres(self) -> bool:
        return "://" in self.url

    def write(self, invoices: int) -> None:
        """Finalize so many more invoices, and correct the last one with a credit note."""
        with Billing.open(self.url, seller=Seller(name="Northwind")) as billing:
            acme = billing.tenant("acme")
            made = [
                acme.finalize_invoice(
                    acme.draft_invoice(customer=ADA, currency="EUR", lines=[LINE]).id
                )
                for _ in range(invoices)
            ]
            acme.issue_credit_note(made[-1].id, amount="1.00", reason="late")

    def rows(self, where: str = "true") -> list[Row]:
        query = f"SELECT {COLUMNS} FROM facts WHERE {where} ORDER BY position"
        if self.is_postgres:
            with psycopg.connect(self.url) as superuser:
                return [Row(*row) for row in superuser.execute(query.encode())]
        with closing(sqlite3.connect(self.url)) as superuser:
            return [Row(*row) for row in superuser.execute(query)]

    def attack(self, *statements: str) -> None:
        """Run statements with the triggers dropped."""
        if self.is_postgres:
            with psycopg.connect(self.url, autocommit=True) as superuser:
                superuser.execute("DROP TRIGGER IF EXISTS facts_are_append_only ON facts")
                for statement in statements:
                    superuser.execute(statement.encode())
            return
        with closing(sqlite3.connect(self.url, isolation_level=None)) as superuser:
            for statement in (*(f"DROP TRIGGER IF EXISTS {one}" for one in _TRIGGERS), *statements):
                superuser.execute(statement)

    def blob(self, content: bytes) -> str:
        return f"'\\x{content.hex()}'::bytea" if self.is_postgres else f"x'{content.hex()}'"

    def rewrite(self, stream: str, change: Callable[[Row], Row]) -> None:
        """Change rows of a stream, and give the whole stream a chain that is right."""
        head, statements = GENESIS, []
        for row in self.rows(f"stream = '{stream}'"):
            made = change(row)
            head = link(head, made)
            statements.append(
                f"UPDATE facts SET body = {self.blob(made.body)}, type = '{made.type}',"
                f" hash = {self.blob(head)} WHERE position = {row.position}"
            )
        self.attack(*statements)

    def verify(self, **asked: object) -> Report:
        with Billing.auditing(self.url) as audit:
            return audit.verify(**asked)  # type: ignore[arg-type]  # as the tests say

    def checkpoint(self) -> Checkpoint:
        with Billing.auditing(self.url) as audit:
            return audit.checkpoint()

    def stream(self, type_name: str, number: int = 0) -> str:
        return self.rows(f"type = '{type_name}'")[number].stream


@pytest.fixture(params=["sqlite", "postgres"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    to = tmp_path if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with databases.copied(_three, to) as url:
        yield Log(url)


def _three(url: str) -> None:
    Log(url).write(3)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that are cut within a log of twenty facts."""
    for module in ("walk", "verify"):
        monkeypatch.setattr(f"counterfoil.adapters.audit.{module}.PAGE", 4)
    monkeypatch.setattr("counterfoil.adapters.audit.verify.HEIGHT", 2)
    monkeypatch.setattr(walk, "ROWS", 3)


def replaced(old: bytes, new: bytes) -> Callable[[Row], Row]:
    def change(row: Row) -> Row:
        return row._replace(body=row.body.replace(old, new))

    return change


def first(report: Report) -> Broken:
    assert report.first is not None
    return report.first


# --- numbers --------------------------------------------------------------------------------


def test_numbers_of_an_untouched_log_hold(log: Log) -> None:
    report = log.verify(deep=True)
    assert (report.holds, report.facts) == (True, len(log.rows()))
    assert report.rows


def test_a_number_that_was_left_out_is_found(log: Log) -> None:
    series = log.stream("series.number_assigned.v1")
    log.rewrite(series, replaced(b'"place":2', b'"place":7'))
    report = log.verify()
    (second,) = [row for row in log.rows(f"stream = '{series}'") if b'"place":7' in row.body]
    assert (first(report).position, first(report).stream) == (second.position, series)
    assert first(report).problem == "place 7 of the series follows place 1"
    assert report.bad == 2  # and place 3 follows place 7


def test_a_document_with_a_number_of_its_own_is_found(log: Log) -> None:
    invoice = log.stream("invoice.finalized.v1", 1)
    log.rewrite(invoice, replaced(b"-0002", b"-0009"))
    report = log.verify()
    assert (first(report).stream, report.bad) == (invoice, 1)
    assert "-0009, its series gave it" in first(report).problem


def test_a_number_that_was_given_to_nobody_is_found_where_it_was_given(log: Log) -> None:
    series = log.stream("series.number_assigned.v1")
    invoice = log.stream("invoice.finalized.v1", 1)
    log.rewrite(series, replaced(invoice.encode(), b"in_nobody"))
    report = log.verify()
    assert "was given to in_nobody, which has it not" in first(report).problem
    assert report.bad == 2  # and the invoice has a number that no series gave it


def test_a_finalized_document_without_a_number_fact_is_found(log: Log) -> None:
    note = log.stream("credit_note.issued.v1")
    (assigned,) = [
        row for row in log.rows("type = 'series.number_assigned.v1'") if note.encode() in row.body
    ]
    log.rewrite(assigned.stream, lambda row: row._replace(type="series.number_assigned.v9"))
    report = log.verify()
    problems = {first(report).problem, first(report).stream}
    assert "unknown to this version" in first(report).problem or note in problems
    assert report.bad >= 2


# --- types and bodies -----------------------------------------------------------------------


def test_a_fact_of_an_unknown_future_version_is_reported_by_position(log: Log) -> None:
    invoice = log.stream("invoice.drafted.v1", 1)
    log.rewrite(
        invoice,
        lambda row: (
            row._replace(type="invoice.line_added.v7")
            if row.type == "invoice.line_added.v1"
            else row
        ),
    )
    (future,) = log.rows("type = 'invoice.line_added.v7'")
    for report in (log.verify(), log.verify(deep=True)):
        assert first(report).position == future.position
        assert "invoice.line_added.v7 is unknown" in first(report).problem


@pytest.mark.parametrize(
    ("body", "says"),
    [(b"[1]", "object"), (b"{", "truncated"), (b"{}", "missing required field"), (b"\xff", "mal")],
)
def test_a_body_that_is_none_is_found_and_not_repeated(log: Log, body: bytes, says: str) -> None:
    invoice = log.stream("invoice.drafted.v1", 1)
    log.rewrite(
        invoice,
        lambda row: row._replace(body=body) if row.type == "invoice.line_added.v1" else row,
    )
    report = log.verify()
    assert (report.bad, first(report).stream) == (1, invoice)
    assert says in first(report).problem


def test_a_value_that_cannot_be_is_found_by_a_deep_verify(log: Log) -> None:
    invoice = log.stream("invoice.drafted.v1", 1)
    log.rewrite(invoice, replaced(b'"EUR"', b'"???"'))
    assert log.verify().holds
    report = log.verify(deep=True)
    assert first(report).stream == invoice
    assert "???" not in first(report).problem


def test_golden_bytes_of_every_version_verify(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "golden.db"))
    Billing.open(log.url).close()
    places = ", ".join("?" * len(Row._fields))
    with closing(sqlite3.connect(log.url)) as connection:
        stored = sorted((Path(__file__).parents[1] / "golden").rglob("*.json"))
        for position, path in enumerate(stored, start=1):
            bare = Row(
                position, "acme", f"golden_{position}", 1, path.stem, path.read_bytes().strip(),
                0, "user", "u", f"cmd_{position}", None, None, b"",
            )  # fmt: skip
            made = bare._replace(hash=link(GENESIS, bare))
            connection.execute(f"INSERT INTO facts VALUES ({places})", made)
        connection.commit()
    report = log.verify()
    # Each stands in a stream of its own, so the numbers among them belong to nobody.
    numbered = {"series.number_assigned.v1", "invoice.finalized.v1", "credit_note.issued.v1"}
    alone = [row for row in log.rows() if row.type in numbered]
    assert (report.facts, first(report).position) == (len(stored), alone[0].position)
    assert report.bad == 4  # a place of no open series, and three halves that find no other


# --- read models and documents --------------------------------------------------------------


def test_a_damaged_read_model_is_found_by_a_deep_verify(log: Log) -> None:
    log.attack("UPDATE invoices SET total = total + 1")
    assert log.verify().holds
    report = log.verify(deep=True)
    assert report.bad == 3
    assert "read model invoices" in first(report).problem
    assert "total is not what the facts make it" in first(report).problem


@pytest.fixture
def printed(tmp_path: Path) -> tuple[Log, Path]:
    log, documents = Log(str(tmp_path / "log.db")), tmp_path / "documents"
    with Billing.open(
        log.url, seller=Seller(name="Northwind"), documents=documents, pdf=RecordingEngine()
    ) as billing:
        acme = billing.tenant("acme")
        for _ in range(3):
            draft = acme.draft_invoice(customer=ADA, currency="EUR", lines=[LINE])
            acme.store_invoice_pdf(acme.finalize_invoice(draft.id).id)
    return log, documents


def documents_of(log: Log, place: Path | str | DocumentStore | None) -> Report:
    with Billing.auditing(log.url, place) as audit:
        return audit.verify(documents=True)


def test_stored_documents_are_compared_with_what_was_recorded(printed: tuple[Log, Path]) -> None:
    log, documents = printed
    report = documents_of(log, documents)
    assert (report.first, report.documents, report.unchecked) == (None, 3, 0)
    files = sorted(documents.rglob("*.pdf"))
    files[0].write_bytes(files[0].read_bytes()[:-1] + b"?")
    files[1].write_bytes(files[1].read_bytes() + b"?")
    files[2].unlink()
    report = documents_of(log, documents)
    assert report.bad == 3
    stored = log.rows("type = 'invoice.document_stored.v1'")
    assert first(report).position == stored[0].position
    assert files[0].name in first(report).problem


def test_a_store_that_is_away_proves_nothing_and_is_no_damage(printed: tuple[Log, Path]) -> None:
    class Away(MemoryStore):
        def get(self, key: str) -> bytes:
            raise Unavailable("the bucket is away")

    report = documents_of(printed[0], Away())
    assert (report.holds, report.documents, report.unchecked) == (True, 0, 3)
    assert report.why_unchecked == "the bucket is away"
    with pytest.raises(StorageNotConfigured):
        documents_of(printed[0], None)


# --- since, and workers ---------------------------------------------------------------------


def test_since_reads_what_came_later_and_proves_that_the_rest_is_the_same(log: Log) -> None:
    since = log.checkpoint()
    log.write(2)
    report = log.verify(since=since)
    assert (report.holds, report.since, report.facts) == (True, since.size, len(log.rows()))
    # The chain goes on from before: a number that does not follow the last one is found.
    late = log.rows("type = 'series.number_assigned.v1'")[-2]
    log.rewrite(late.stream, lambda row: _moved(row) if row.position == late.position else row)
    report = log.verify(since=since)
    assert (first(report).position, first(report).stream) == (late.position, late.stream)
    assert "of the series follows place" in first(report).problem


def _moved(row: Row) -> Row:
    place = json.loads(row.body)["place"]
    return replaced(f'"place":{place}'.encode(), b'"place":99')(row)


def test_since_finds_an_old_hash_that_was_changed_but_not_an_old_body(log: Log) -> None:
    since = log.checkpoint()
    log.attack("UPDATE facts SET actor_id = 'u_9' WHERE position = 2")
    assert log.verify(since=since).holds  # as its help says
    assert not log.verify().holds
    log.attack(f"UPDATE facts SET hash = {log.blob(bytes(32))} WHERE position = 2")
    report = log.verify(since=since)
    assert "are not those of the checkpoint" in first(report).problem


@pytest.mark.parametrize(
    "attack",
    [
        None,
        "UPDATE facts SET actor_id = 'x' WHERE position = 1",
        "UPDATE facts SET actor_id = 'x' WHERE position IN (3, 8, 13)",
        "DELETE FROM facts WHERE position = 4",
        "DELETE FROM facts WHERE position IN (8, 9)",
        "UPDATE facts SET version = version + 50 WHERE position = 9",
        "UPDATE facts SET type = 'x' WHERE position = 12",
    ],
)
@pytest.mark.usefixtures("small_pages")
def test_any_number_of_workers_finds_the_same(
    log: Log, attack: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their parts are walked here in turn: a process would not know of the small pages."""

    def walk_here(
        _: str, parts: list[walk.Part], watch: Callable[[int], None], *, deep: bool
    ) -> list[walk.Walked]:
        with Billing.open(log.url) as billing:
            return [walk.Walk(billing.log, part, deep=deep).run(watch) for part in parts]

    monkeypatch.setattr("counterfoil.adapters.audit.workers.walk_apart", walk_here)
    checkpoint = log.checkpoint()
    middle = replace(checkpoint, size=6, root=_root_of(log, 6))
    if attack is not None:
        log.attack(attack)
    for known in (None, checkpoint, [middle, checkpoint]):
        one = log.verify(workers=1, checkpoint=known)
        assert [log.verify(workers=n, checkpoint=known) for n in (2, 3, 5)] == [one] * 3


def _root_of(log: Log, size: int) -> str:
    from counterfoil.adapters.audit import merkle

    return merkle.root([merkle.leaf(row.position, row.hash) for row in log.rows()[:size]]).hex()


@pytest.mark.slow
def test_processes_find_what_one_finds(log: Log) -> None:
    log.write(1_100)  # more than a page of the tree, so that there is something to share
    one = log.verify()
    assert one.holds
    assert one.facts > walk.PAGE
    assert log.verify(workers=2) == one
    log.attack("UPDATE facts SET actor_id = 'x' WHERE position IN (9, 4200)")
    assert log.verify(workers=2) == log.verify()
    assert log.verify(workers=2).bad == 2


def test_workers_are_at_least_one() -> None:
    with (
        Billing.open(":memory:") as billing,
        pytest.raises(Malformed, match="workers: must be 1 or more"),
    ):
        billing.audit.verify(workers=0)


# --- what only checkpoints show -------------------------------------------------------------


def test_a_backup_of_last_week_that_was_written_on_is_found(tmp_path: Path) -> None:
    log = Log(str(tmp_path / "log.db"))
    log.write(2)
    backup = sqlite3.connect(tmp_path / "backup.db")
    with closing(sqlite3.connect(log.url)) as live:
        live.backup(backup)
    backup.close()
    old = log.checkpoint()
    log.write(1)
    new = log.checkpoint()
    restored = Log(str(tmp_path / "backup.db"))
    report = restored.verify(checkpoint=[new, old])
    missing = new.size - old.size
    assert first(report).position == old.size + 1
    assert f"{missing} facts are missing at the end" in first(report).problem
    restored.write(4)
    assert restored.verify().holds
    report = restored.verify(checkpoint=[new, old])
    assert f"as far as position {old.size} they are" in first(report).problem
    with Billing.auditing(restored.url) as audit:
        assert audit.consistency(old).hold()
        with pytest.raises(IntegrityFailed, match="does not begin with"):
            audit.consistency(new)


def test_a_truncated_log_is_found_even_when_nothing_is_left(log: Log) -> None:
    checkpoint = log.checkpoint()
    log.attack("TRUNCATE facts" if log.is_postgres else "DELETE FROM facts")
    assert log.verify().holds
    report = log.verify(checkpoint=checkpoint)
    assert (first(report).position, report.bad) == (1, 1)
    assert f"{checkpoint.size} facts are missing" in first(report).problem


def test_a_checkpoint_of_another_log_says_so(log: Log, tmp_path: Path) -> None:
    other = Log(str(tmp_path / "other.db"))
    other.write(3)
    report = log.verify(checkpoint=other.checkpoint())
    assert "is it one of another log" in first(report).problem


# --- checkpoints ----------------------------------------------------------------------------

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(32))
AT = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MADE = Checkpoint(9, "ab" * 32, AT, "cd" * 32)


def test_a_checkpoint_is_signed_and_every_changed_field_shows() -> None:
    signed = MADE.signed(KEY)
    signed.hold_signed_by(KEY.public_key())
    for forged in (
        replace(signed, size=8),
        replace(signed, root="ac" * 32),
        replace(signed, made_at=AT + timedelta(microseconds=1)),
        replace(signed, log=None),
        replace(signed, signature="AAAA"),
        MADE,
        MADE.signed(OTHER),
    ):
        with pytest.raises(IntegrityFailed):
            forged.hold_signed_by(KEY.public_key())


def test_what_is_signed_is_canonical() -> None:
    assert MADE.signed_bytes == (
        b'counterfoil checkpoint v1\n{"log":"' + b"cd" * 32 + b'","made_at":'
        b'"2026-11-20T12:00:00+00:00","root":"' + b"ab" * 32 + b'","size":9}'
    )


def test_a_checkpoint_is_what_it_was_in_a_file_and_in_a_store(tmp_path: Path) -> None:
    for made in (MADE, MADE.signed(KEY), Checkpoint(0, "00" * 32)):
        made.save(tmp_path / "kept.json")
        assert Checkpoint.load(tmp_path / "kept.json") == made
        for store in (MemoryStore(), FolderStore(tmp_path / f"{made.size}-{made.signature}"[:9])):
            assert made.store(store) == made
            assert Checkpoint.fetch(store, made.key) == made
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_checkpoint_of_the_earlier_shape_is_read(tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(json.dumps({"size": 3, "root": "ab" * 32}))
    assert Checkpoint.load(file) == Checkpoint(3, "ab" * 32)


def test_a_checkpoint_of_the_same_facts_is_kept_once() -> None:
    store = MemoryStore()
    MADE.store(store)
    later = replace(MADE, made_at=AT + timedelta(hours=1))
    assert later.store(store) == MADE
    with pytest.raises(Conflict, match="not signed by this key"):
        later.signed(KEY).store(store)
    with pytest.raises(Conflict):
        replace(MADE, root=MADE.root[:12] + "0" * 52).store(store)


@pytest.mark.parametrize("root", ["", "ab", "zz" * 32, "AB" * 32])
def test_a_root_that_is_none_is_no_checkpoint(root: str) -> None:
    with pytest.raises(Malformed, match="is no checkpoint"):
        Checkpoint.of_json({"size": 1, "root": root}, "this")


# --- proofs ---------------------------------------------------------------------------------


def test_a_proof_of_every_fact_holds_without_a_database(log: Log) -> None:
    with Billing.auditing(log.url) as audit:
        checkpoint = audit.checkpoint(key=KEY)
        proofs = [audit.prove(row.position, checkpoint) for row in log.rows()]
    log.attack("DELETE FROM facts")
    for proof in proofs:
        said = json.loads(json.dumps(proof.as_json()))
        read = read_proof(said, "this")
        assert read == proof
        assert f"position {proof.fact.position} " in read.hold(KEY.public_key())


def test_a_proof_shows_whatever_was_changed_in_it(log: Log) -> None:
    with Billing.auditing(log.url) as audit:
        proof = audit.prove(5)
        said = proof.as_json()
    assert isinstance(proof, Inclusion)
    fact = proof.fact
    for forged in (
        replace(proof, fact=fact._replace(body=fact.body + b" ")),
        replace(proof, fact=fact._replace(actor_id="u_9")),
        replace(proof, fact=fact._replace(position=6)),
        replace(proof, previous=bytes(32)) if proof.previous != bytes(32) else proof,
        replace(proof, index=proof.index + 1),
        replace(proof, path=proof.path[:-1]),
        replace(proof, checkpoint=replace(proof.checkpoint, root="ab" * 32)),
        replace(proof, checkpoint=replace(proof.checkpoint, size=proof.checkpoint.size * 4)),
    ):
        if forged is not proof:
            with pytest.raises(IntegrityFailed):
                forged.hold()
    assert read_proof(said, "this") == proof
    # What is said twice must be the same twice.
    for name, lie in {"leaf": "ab" * 32, "size": 1, "more": 1, "index": "4"}.items():
        with pytest.raises(Malformed, match="is no proof"):
            read_proof({**said, name: lie}, "this")
    with pytest.raises(IntegrityFailed, match="is not signed"):
        proof.hold(KEY.public_key())


def test_a_log_that_no_longer_fits_its_checkpoint_proves_nothing_of_it(log: Log) -> None:
    with Billing.auditing(log.url) as audit:
        old = audit.checkpoint()
        with pytest.raises(NotFound):
            audit.prove(old.size + 1)
        log.rewrite(log.stream("invoice.drafted.v1"), replaced(b"Work", b"Play"))
        with pytest.raises(IntegrityFailed):
            audit.prove(1, old)
        with pytest.raises(IntegrityFailed):
            audit.consistency(old)


def test_a_log_that_only_grew_is_proved_to_have(log: Log) -> None:
    with Billing.auditing(log.url) as audit:
        old = audit.checkpoint(key=KEY)
        log.write(2)
        new = audit.checkpoint(key=KEY)
        proof = audit.consistency(old, new)
        with pytest.raises(IntegrityFailed, match="missing at the end"):
            audit.consistency(new, old)
    read = read_proof(json.loads(json.dumps(proof.as_json())), "this")
    assert isinstance(read, Consistency)
    assert read.hold(KEY.public_key()) == proof.hold()
    with pytest.raises(IntegrityFailed):
        replace(proof, old=replace(old, root=new.root)).hold()


# --- the command line -----------------------------------------------------------------------


def test_the_command_line_makes_keys_signs_proves_and_checks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = Log(str(tmp_path / "log.db"))
    log.write(2)
    on = ["--database", log.url]
    key, public = str(tmp_path / "key.pem"), str(tmp_path / "key.pub.pem")
    old, new, proof = (str(tmp_path / f"{name}.json") for name in ("old", "new", "proof"))
    assert main(["audit", "keygen", "--out", key]) == 0
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    assert main(["audit", "keygen", "--out", key]) == 2
    assert main(["audit", "checkpoint", *on, "--out", old, "--key", key]) == 0
    log.write(1)
    kept = ["--store", "--documents", str(tmp_path / "documents"), "--key", key]
    assert main(["audit", "checkpoint", *on, *kept]) == 0
    made = Checkpoint.load(next((tmp_path / "documents").rglob("*.json")))
    made.save(tmp_path / "new.json")
    asked = ["--checkpoint", old, "--checkpoint", made.key, "--public-key", public]
    asked += ["--documents", str(tmp_path / "documents")]
    assert main(["audit", "verify", *on, *asked]) == 0
    assert main(["audit", "verify", *on, "--since", old, "--public-key", public]) == 0
    assert main(["audit", "prove", "3", *on, "--checkpoint", new, "--out", proof]) == 0
    assert main(["audit", "check-proof", proof, "--public-key", public]) == 0
    assert main(["audit", "prove", *on, "--since", old, "--key", key, "--out", proof]) == 0
    assert main(["audit", "check-proof", proof, "--public-key", public, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["holds"], told["checkpoint"]["size"]) == (True, made.size)
    for wrong in (["prove", *on], ["prove", "1", "--since", old, *on], ["check-proof", key]):
        assert main(["audit", *wrong]) == 2
    unsigned = Checkpoint(made.size, made.root)
    unsigned.save(tmp_path / "unsigned.json")
    assert (
        main(["audit", "verify", *on, "--checkpoint", str(tmp_path / "unsigned.json"),
              "--public-key", public]) == 1
    )  # fmt: skip
    assert "is not signed" in capsys.readouterr().err


def test_a_file_that_is_no_key_is_said_to_be_none(tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    for content in (
        b"",
        b"secret",
        b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
    ):
        file.write_bytes(content)
        for read in (signing.read_signing_key, signing.read_public_key):
            with pytest.raises(Malformed, match="Ed25519 key in PEM") as refused:
                read(file)
            assert "secret" not in str(refused.value)
    with pytest.raises(Malformed, match="cannot be read"):
        signing.read_signing_key(tmp_path / "none.pem")
