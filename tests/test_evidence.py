"""Does an evidence pack prove what it says, to somebody with nothing but python3, and does every
change of it show?
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tracemalloc
import zipfile
from contextlib import closing
from random import Random
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from counterfoil.adapters.audit import Checkpoint, signing
from counterfoil.adapters.audit.evidence import verifier
from counterfoil.adapters.cli.main import main
from counterfoil.domain import Customer
from counterfoil.domain.errors import IntegrityFailed, Malformed, NotFound
from support import postgres
from support.evidence import (
    facts_of,
    forge,
    office,
    put_facts,
    rechain,
    said,
    unpacked,
    verified,
    year,
)
from support.invoices import issued

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from counterfoil.billing import Billing

FLIPS_FAST, FLIPS = 20, 200
PERIOD = "2026-03"


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty database of either kind."""
    if request.param == "sqlite":
        yield str(tmp_path / "counterfoil.db")
        return
    with postgres.ready(request.getfixturevalue("postgres_url")) as url:
        yield url


@pytest.fixture
def billing(tmp_path: Path) -> Iterator[Billing]:
    """A year in an SQLite file."""
    with office(tmp_path / "counterfoil.db", tmp_path / "documents") as billing:
        year(billing)
        yield billing


@pytest.fixture
def pack(billing: Billing, tmp_path: Path) -> Path:
    """The month, unsigned."""
    return billing.audit.export(tmp_path / "pack.zip", tenant="acme", period=PERIOD).path


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """The seller's keys."""
    secret, public = tmp_path / "key.pem", tmp_path / "key.pub.pem"
    signing.make_keys(secret, public)
    return secret, public


# --- what holds ---------------------------------------------------------------------------


def test_a_pack_holds_where_there_is_nothing_but_python(database: str, tmp_path: Path) -> None:
    with office(database, tmp_path / "documents") as billing:
        invoice = year(billing)
        month = billing.audit.export(tmp_path / "month.zip", tenant="acme", period=PERIOD)
        one = billing.audit.export(tmp_path / "one.zip", tenant="acme", invoice=invoice.id)
    assert (month.holds, month.documents, month.stored, month.printed) == (True, 3, 1, 2)
    assert (one.holds, one.documents, one.stored, one.printed) == (True, 2, 1, 1)
    for made in (month, one):
        done = verified(made.path, at=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.endswith("\nIT HOLDS.\n")
        assert f"Digest of the pack:     {made.digest}\n" in done.stdout
        assert said(verified(made.path, "--digest", made.digest, "--json", at=tmp_path))["holds"]


def test_it_verifies_where_it_was_unpacked(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "unpacked")
    assert said(verified(folder, "--json", at=tmp_path, verifier=folder / "verify.py"))["holds"]
    assert verifier.main([str(folder)]) == 0


def test_the_same_history_makes_the_same_bytes_in_every_database(
    postgres_url: str, tmp_path: Path
) -> None:
    packs: list[bytes] = []
    with postgres.ready(postgres_url) as url:
        for database in (url, str(tmp_path / "a.db"), str(tmp_path / "b.db")):
            documents = tmp_path / f"documents{len(packs)}"
            with office(database, documents) as billing:
                year(billing)
                made = billing.audit.export(tmp_path / "pack.zip", tenant="acme", period=PERIOD)
            packs.append(made.path.read_bytes())
    assert packs[0] == packs[1] == packs[2]


def test_a_pack_under_an_old_checkpoint_says_what_was_so_then(
    billing: Billing, tmp_path: Path
) -> None:
    then = billing.audit.checkpoint()
    earlier = billing.audit.export(tmp_path / "1.zip", tenant="acme", period=PERIOD, prints=False)
    acme = billing.tenant("acme")
    acme.record_payment("in_000001", amount=700)
    late = issued(acme)
    then.save(tmp_path / "then.json")
    again = billing.audit.export(
        tmp_path / "2.zip",
        tenant="acme",
        period=PERIOD,
        prints=False,
        checkpoint=Checkpoint.load(tmp_path / "then.json"),
    )
    assert again.holds
    assert again.path.read_bytes() == earlier.path.read_bytes()
    with pytest.raises(NotFound):
        billing.audit.export(
            tmp_path / "3.zip", tenant="acme", invoice=str(late.number), checkpoint=then
        )
    now = billing.audit.export(tmp_path / "4.zip", tenant="acme", period=PERIOD)
    assert (now.holds, now.facts > again.facts) == (True, True)
    told = said(
        verified(now.path, "--checkpoint", str(tmp_path / "then.json"), "--json", at=tmp_path)
    )
    assert told["failed"] == ["checkpoint"]


def test_a_pack_holds_one_tenants_data_and_no_other(billing: Billing, tmp_path: Path) -> None:
    theirs = billing.audit.export(tmp_path / "rival.zip", tenant="rival", period=PERIOD)
    ours = billing.audit.export(tmp_path / "acme.zip", tenant="acme", period=PERIOD)
    for made, tenant, strange in ((ours, "acme", "Geheim"), (theirs, "rival", "Analytical")):
        folder = unpacked(made.path, tmp_path / tenant)
        assert {fact["tenant"] for fact in facts_of(folder)} == {tenant}
        assert strange.encode() not in made.path.read_bytes()
    assert b"Geheim" in theirs.path.read_bytes()


def test_a_pack_of_one_invoice_says_nothing_of_others(billing: Billing, tmp_path: Path) -> None:
    made = billing.audit.export(tmp_path / "one.zip", tenant="acme", invoice="INV-2026-0002")
    content = made.path.read_bytes()
    assert made.holds
    assert b"in_000001" not in content
    assert b"INV-2026-0001" not in content


def test_a_credit_note_is_shown_with_the_invoice_that_it_corrects(
    billing: Billing, tmp_path: Path
) -> None:
    by_note = billing.audit.export(tmp_path / "a.zip", tenant="acme", invoice="CN-2026-0001")
    by_invoice = billing.audit.export(tmp_path / "b.zip", tenant="acme", invoice="INV-2026-0001")
    assert by_note.path.read_bytes() == by_invoice.path.read_bytes()


def test_numbers_are_listed_for_a_spreadsheet(pack: Path) -> None:
    with zipfile.ZipFile(pack) as archive:
        head, *rows = archive.read("numbers.csv").decode().splitlines()
    assert head == "series,place,number,kind,document,issued_on,currency,total"
    assert [row.split(",")[1:4] + row.split(",")[-2:] for row in rows] == [
        ["1", "CN-2026-0001", "credit_note", "EUR", "5.00"],
        ["1", "INV-2026-0001", "invoice", "EUR", "1868.16"],
        ["2", "INV-2026-0002", "invoice", "EUR", "133.88"],
    ]


@pytest.mark.slow
def test_a_month_of_three_times_as_many_invoices_takes_little_more_memory(tmp_path: Path) -> None:
    grown, sizes = [], []
    with office(tmp_path / "counterfoil.db", tmp_path / "documents") as billing:
        acme, made = billing.tenant("acme"), 0
        for count in (500, 1500):  # the first fills every page already
            for _ in range(count - made):
                issued(acme)
            made = count
            tracemalloc.start()
            pack = billing.audit.export(
                tmp_path / "pack.zip", tenant="acme", period=PERIOD, prints=False
            )
            grown.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert pack.holds
            sizes.append(pack.path.stat().st_size)
    # What grows is what a document is found by; the facts themselves are never held.
    assert grown[1] - grown[0] < (sizes[1] - sizes[0]) / 3


# --- what is refused ----------------------------------------------------------------------


def test_what_cannot_be_exported_is_said(billing: Billing, tmp_path: Path) -> None:
    out, audit = tmp_path / "pack.zip", billing.audit
    for wrong in ("2026-13", "March", "2026-3", ""):
        with pytest.raises(Malformed, match="period"):
            audit.export(out, tenant="acme", period=wrong)
    with pytest.raises(NotFound):
        audit.export(out, tenant="acme", period="2025")
    with pytest.raises(NotFound):
        audit.export(out, tenant="rival", invoice="in_000001")
    with pytest.raises(Malformed, match="either"):
        audit.export(out, tenant="acme", invoice="in_000001", period=PERIOD)
    assert not [*tmp_path.glob("*.zip*"), *tmp_path.glob(".*")]


# --- every flipped byte -------------------------------------------------------------------


def _flip(pack: Path, at: int, bit: int, to: Path) -> None:
    content = bytearray(pack.read_bytes())
    content[at] ^= 1 << bit
    to.write_bytes(content)


def _members(pack: Path) -> dict[str, tuple[int, int]]:
    with zipfile.ZipFile(pack) as archive:
        return {
            info.filename: (info.header_offset + 30 + len(info.filename), info.file_size)
            for info in archive.infolist()
        }


def _owner(pack: Path, at: int) -> str:
    """The file that a byte of a pack belongs to, or the pack."""
    return next(
        (name for name, (start, size) in _members(pack).items() if start <= at < start + size),
        pack.name,
    )


def _hold_flips(
    pack: Path, tmp_path: Path, count: int, verdict: Callable[[Path], dict[str, Any]]
) -> None:
    random, size = Random(7), pack.stat().st_size  # noqa: S311  (the same flips in every run)
    flipped = tmp_path / "flipped" / pack.name
    flipped.parent.mkdir()
    for _ in range(count):
        at, bit = random.randrange(size), random.randrange(8)
        _flip(pack, at, bit, flipped)
        told = verdict(flipped)
        owner = _owner(pack, at)
        named = told["first"].split(":")[0]
        if owner in {"manifest.json", "manifest.sig", "SHA256SUMS"}:  # they tell of one another
            assert named in {"manifest.json", "manifest.sig", "SHA256SUMS"}, (at, bit)
        elif owner != pack.name:
            assert named == owner, (at, bit)
        assert not told["holds"], (at, bit)


def _verdict_here(pack: Path) -> dict[str, Any]:
    return verifier.verify(pack).as_json()


def test_any_flipped_byte_is_found_and_its_file_named(pack: Path, tmp_path: Path) -> None:
    _hold_flips(pack, tmp_path, FLIPS_FAST, _verdict_here)


@pytest.mark.slow
def test_two_hundred_flipped_bytes_are_found_and_their_files_named(
    pack: Path, tmp_path: Path
) -> None:
    whole = _untouched(pack, tmp_path)
    _hold_flips(
        pack,
        tmp_path,
        FLIPS,
        lambda flipped: said(verified(flipped, "--json", at=tmp_path, verifier=whole)),
    )


@pytest.mark.slow
def test_two_hundred_flipped_bytes_of_a_signed_pack_are_found(
    billing: Billing, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    made = billing.audit.export(tmp_path / "s.zip", tenant="acme", period=PERIOD, key=keys[0])
    _hold_flips(made.path, tmp_path, FLIPS, _verdict_here)


@pytest.mark.slow
def test_each_flipped_byte_of_what_seals_a_pack_is_found(
    billing: Billing, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    made = billing.audit.export(tmp_path / "s.zip", tenant="acme", period=PERIOD, key=keys[0])
    flipped = tmp_path / "flipped.zip"
    members = _members(made.path)
    inside = {
        at
        for name in set(members) - {"manifest.sig", "SHA256SUMS"}
        for at in range(members[name][0], sum(members[name]))
    }
    for at in set(range(made.path.stat().st_size)) - inside:
        _flip(made.path, at, at % 8, flipped)
        report = verifier.verify(flipped)
        assert not report.holds, at
        assert report.first, at


def test_a_changed_verifier_is_named_by_another_copy(pack: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.py"
    shutil.copy(unpacked(pack, tmp_path / "a") / "verify.py", whole)
    folder = unpacked(pack, tmp_path / "b")
    (folder / "verify.py").write_text("print('IT HOLDS.')\n")
    told = said(verified(folder, "--json", at=tmp_path, verifier=whole))
    assert told["first"].startswith("verify.py: ")


# --- files that come and go ---------------------------------------------------------------


def _rename(folder: Path) -> str:
    (folder / "numbers.csv").rename(folder / "number.csv")
    return "numbers.csv"


def _remove(folder: Path) -> str:
    (folder / "proofs.jsonl").unlink()
    return "proofs.jsonl"


def _add(folder: Path) -> str:
    (folder / "documents" / "INV-2026-0003.pdf").write_bytes(b"%PDF-1.7 of nobody")
    return "documents/INV-2026-0003.pdf"


def _link(folder: Path) -> str:
    (folder / "README.txt").unlink()
    (folder / "README.txt").symlink_to("/etc/hostname")
    return "README.txt"


@pytest.mark.parametrize("change", [_rename, _remove, _add, _link])
def test_a_file_that_comes_or_goes_is_named(
    pack: Path, tmp_path: Path, change: Callable[[Path], str]
) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    name = change(folder)
    told = said(verified(folder, "--json", at=tmp_path, verifier=_untouched(pack, tmp_path)))
    assert told["first"].startswith(f"{name}: ")


def test_a_pack_that_was_zipped_again_is_not_the_one_that_was_made(
    pack: Path, tmp_path: Path
) -> None:
    again = tmp_path / "again.zip"
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(again, "w") as new:
        for info in old.infolist():
            new.writestr(info, old.read(info))
    told = said(verified(again, "--json", at=tmp_path, verifier=_untouched(pack, tmp_path)))
    assert told["failed"] == ["zip"]
    assert "zipped again" in told["first"]


def _untouched(pack: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(pack) as archive:
        whole = tmp_path / "untouched.py"
        whole.write_bytes(archive.read("verify.py"))
    return whole


# --- forgers who make the manifest anew ---------------------------------------------------


def _verdict(folder: Path, pack: Path, tmp_path: Path, *options: str) -> dict[str, Any]:
    done = verified(folder, "--json", *options, at=tmp_path, verifier=_untouched(pack, tmp_path))
    return said(done)


def test_swapped_facts_are_found(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    facts = facts_of(folder)
    facts[2], facts[3] = facts[3], facts[2]
    put_facts(folder, facts)
    told = _verdict(folder, pack, tmp_path)
    assert "facts" in told["failed"]
    assert told["first"].startswith("events.jsonl line 3 (position 4, stream in_000001, version 4)")


def test_a_body_that_was_changed_under_its_hash_is_found(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    facts = facts_of(folder)
    facts[0]["body"] = facts[0]["body"].replace("Analytical Engines", "Babbage & Co")
    put_facts(folder, facts)
    told = _verdict(folder, pack, tmp_path)
    assert told["failed"] == ["facts"]
    assert told["first"].endswith("its hash is not that of its row after the fact before it")


def test_a_stream_that_was_rewritten_with_a_right_chain_is_found_against_the_checkpoint(
    pack: Path, tmp_path: Path
) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    facts = facts_of(folder)
    changed = next(fact for fact in facts if fact["type"] == "invoice.payment_succeeded.v1")
    changed["body"] = changed["body"].replace('"amount":1000', '"amount":1001')
    put_facts(folder, rechain(facts, verifier.hash_of))
    told = _verdict(folder, pack, tmp_path)
    assert told["failed"] == ["proofs"]
    assert f"(position {changed['position']}, " in told["first"]
    assert told["first"].endswith("it is not one of the facts of the checkpoint")


def test_a_total_that_does_not_follow_from_its_lines_is_found(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    facts = facts_of(folder)
    changed = next(fact for fact in facts if fact["type"] == "invoice.finalized.v1")
    changed["body"] = changed["body"].replace('"total":186816', '"total":186817')
    put_facts(folder, rechain(facts, verifier.hash_of))
    told = _verdict(folder, pack, tmp_path)
    assert "amounts" in told["failed"]
    problem = next(one["first"] for one in told["checks"] if one["check"] == "amounts")
    assert problem.endswith("the total of INV-2026-0001 is not what its lines come to")


def test_a_fact_that_was_left_out_in_the_middle_is_found(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    facts = facts_of(folder)
    put_facts(folder, facts[:4] + facts[5:])
    assert "version 6 follows version 4" in _verdict(folder, pack, tmp_path)["first"]


def test_a_number_that_was_left_out_is_found(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    numbers = (folder / "numbers.csv").read_text().splitlines(keepends=True)
    (folder / "numbers.csv").write_text("".join(numbers[:-1]))
    forge(folder)
    told = _verdict(folder, pack, tmp_path)
    assert told["failed"] == ["numbers"]
    assert told["first"].startswith("numbers.csv line 4: ")


def test_a_document_that_was_left_out_with_all_its_facts_leaves_its_number(
    pack: Path, tmp_path: Path
) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    kept = [at for at, fact in enumerate(facts_of(folder)) if fact["stream"] != "in_000015"]
    put_facts(folder, [facts_of(folder)[at] for at in kept])
    problems = {one["check"]: one["first"] for one in _verdict(folder, pack, tmp_path)["checks"]}
    assert problems["numbers"].endswith("INV-2026-0002 belongs to in_000015, which is not in it")


def test_another_pdf_is_found(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    (stored,) = (folder / "documents").glob("INV-2026-0001.*")
    stored.write_bytes(b"%PDF-1.7 of a forger")
    forge(folder)
    told = _verdict(folder, pack, tmp_path)
    assert told["failed"] == ["documents"]
    assert told["first"].startswith(f"documents/{stored.name}: ")


def test_another_total_for_the_reader_is_found(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    shown = (folder / "invoices.jsonl").read_text()
    (folder / "invoices.jsonl").write_text(shown.replace('"total":13388', '"total":13380'))
    forge(folder)
    told = _verdict(folder, pack, tmp_path)
    assert told["failed"] == ["readable"]
    assert told["first"].startswith("invoices.jsonl line 2: the total of in_000015")


# --- who signed it ------------------------------------------------------------------------


def test_a_signed_pack_is_known_by_its_key(
    billing: Billing, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    secret, public = keys
    made = billing.audit.export(tmp_path / "s.zip", tenant="acme", period=PERIOD, key=secret)
    told = said(verified(made.path, "--json", "--public-key", str(public), at=tmp_path))
    assert told["holds"]
    assert not [one for one in told["not_proved"] if "who made" in one or "left out" in one]
    key = signing.public_of(signing.read_signing_key(secret))
    assert verified(made.path, "--public-key", key, at=tmp_path).returncode == 0
    signing.make_keys(tmp_path / "2.pem", tmp_path / "2.pub.pem")
    other = str(tmp_path / "2.pub.pem")
    told = said(verified(made.path, "--json", "--public-key", other, at=tmp_path))
    assert told["failed"] == ["signature", "checkpoint"]


def test_what_was_left_out_at_the_end_shows_by_the_signature(
    billing: Billing, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    secret, public = keys
    billing.tenant("acme").record_payment("in_000015", amount=100)
    made = billing.audit.export(tmp_path / "s.zip", tenant="acme", invoice="in_000015", key=secret)
    folder = unpacked(made.path, tmp_path / "pack")
    (folder / "manifest.sig").unlink()
    *proofs, _ = (folder / "proofs.jsonl").read_text().splitlines(keepends=True)
    (folder / "proofs.jsonl").write_text("".join(proofs))
    *facts, last = facts_of(folder)
    assert last["type"] == "invoice.payment_succeeded.v1"
    put_facts(folder, facts)
    trusting, key = ("--public-key", str(public)), "--unsigned-pack"
    told = _verdict(folder, made.path, tmp_path, *trusting)
    assert told["failed"] == ["signature"]
    assert told["first"].startswith("manifest.sig: it is missing")
    told = _verdict(folder, made.path, tmp_path, *trusting, key)
    assert told["holds"]
    assert any("left out" in one for one in told["not_proved"])
    assert _verdict(folder, made.path, tmp_path, "--digest", made.digest)["failed"] == ["manifest"]


def test_a_forged_checkpoint_is_found_by_its_signature(
    billing: Billing, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    secret, public = keys
    made = billing.audit.export(tmp_path / "s.zip", tenant="acme", period=PERIOD, key=secret)
    folder = unpacked(made.path, tmp_path / "pack")
    checkpoint = json.loads((folder / "checkpoint.json").read_text())
    checkpoint["made_at"] = "2020-01-01T00:00:00+00:00"
    (folder / "checkpoint.json").write_text(json.dumps(checkpoint))
    forge(folder)
    told = _verdict(folder, made.path, tmp_path, "--public-key", str(public))
    assert told["failed"] == ["signature", "checkpoint"]


# --- a seller who tampered ----------------------------------------------------------------


def _attack(database: str, change: str) -> None:
    if "://" in database:
        with psycopg.connect(database, autocommit=True) as superuser:
            superuser.execute("DROP TRIGGER facts_are_append_only ON facts")
            superuser.execute(change.encode())
        return
    with closing(sqlite3.connect(database, isolation_level=None)) as superuser:
        superuser.execute("DROP TRIGGER facts_are_not_changed")
        superuser.execute("DROP TRIGGER facts_are_not_deleted")
        superuser.execute(change)


def test_a_pack_of_a_database_that_was_tampered_with_says_so(database: str, tmp_path: Path) -> None:
    with office(database, tmp_path / "documents") as billing:
        year(billing)
        then = billing.audit.checkpoint()
        _attack(database, "UPDATE facts SET actor_id = 'nobody' WHERE position = 5")
        made = billing.audit.export(
            tmp_path / "pack.zip", tenant="acme", period=PERIOD, checkpoint=then
        )
    assert not made.holds
    assert "position 5" in made.problems[0]
    told = said(verified(made.path, "--json", at=tmp_path))
    assert told["failed"] == ["facts"]
    assert "(position 5, stream in_000001, version 5)" in told["first"]


def test_a_log_that_was_rewritten_or_cut_off_is_not_that_of_the_checkpoint(
    database: str, tmp_path: Path
) -> None:
    with office(database, tmp_path / "documents") as billing:
        year(billing)
        then, out = billing.audit.checkpoint(), tmp_path / "pack.zip"
        last = "(SELECT max(position) FROM facts)"
        zeros = "'\\x" + "00" * 32 + "'::bytea" if "://" in database else f"x'{'00' * 32}'"
        _attack(database, f"UPDATE facts SET hash = {zeros} WHERE position = {last}")
        made = billing.audit.export(out, tenant="acme", period=PERIOD, checkpoint=then)
        assert made.problems[0].endswith("facts of the log are not those of the checkpoint")
        assert said(verified(out, "--json", at=tmp_path))["failed"] == ["proofs"]
        if "://" in database:
            with psycopg.connect(database, autocommit=True) as superuser:
                superuser.execute(f"DELETE FROM facts WHERE position = {last}".encode())
        else:
            with closing(sqlite3.connect(database, isolation_level=None)) as superuser:
                superuser.execute(f"DELETE FROM facts WHERE position = {last}")
        with pytest.raises(IntegrityFailed, match="missing at the end"):
            billing.audit.export(out, tenant="acme", period=PERIOD, checkpoint=then)


@pytest.mark.parametrize("fate", ["missing", "other"])
def test_a_document_that_is_gone_or_another_is_listed_and_the_pack_is_written(
    billing: Billing, tmp_path: Path, fate: str
) -> None:
    (stored,) = (tmp_path / "documents").rglob("in_000001.pdf")
    if fate == "missing":
        stored.unlink()
    else:
        stored.chmod(0o600)
        stored.write_bytes(b"%PDF-1.7 of a forger")
    made = billing.audit.export(tmp_path / "pack.zip", tenant="acme", period=PERIOD)
    assert made.missing == (f"invoices/in_000001.pdf is {fate}",)
    assert not made.holds
    told = said(verified(made.path, "--json", at=tmp_path))
    assert told["failed"] == ["documents"]
    assert "when the pack was made" in told["first"]


# --- the command line ---------------------------------------------------------------------


def test_the_command_line_exports_and_ends_with_1_where_something_is_missing(
    billing: Billing, keys: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--database", str(tmp_path / "counterfoil.db"), "--tenant", "acme", "--no-prints"]
    options += ["--documents", str(tmp_path / "documents"), "--out", str(tmp_path / "cli.zip")]
    export = ["audit", "export", *options]
    assert main([*export, "--invoice", "INV-2026-0001", "--key", str(keys[0]), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["holds"]
    assert told["digest"] == verifier.verify(tmp_path / "cli.zip").digest
    (stored,) = (tmp_path / "documents").rglob("in_000001.pdf")
    stored.unlink()
    assert main([*export, "--period", PERIOD]) == 1
    said_ = capsys.readouterr()
    assert "Not as it was stored: invoices/in_000001.pdf is missing" in said_.out
    assert "cli.zip is written, and does not hold" in said_.err
    assert main([*export, "--invoice", "INV-2026-9999"]) == 1
    assert main([*export, "--period", "2026-14"]) == 2


def test_names_that_a_spreadsheet_would_compute_are_text_to_it() -> None:
    fields = ["=1+1", "+A1", "-7.50", "@x", "", "plain"]
    assert verifier.csv_row(fields) == b"'=1+1,'+A1,-7.50,'@x,,plain\n"


def test_a_customer_with_many_alphabets_is_packed(billing: Billing, tmp_path: Path) -> None:
    customer = Customer(id="cus_2", name='Ada "Æ" 愛達 آدا & Söhne')
    invoice = issued(billing.tenant("acme"), customer=customer)
    made = billing.audit.export(tmp_path / "pack.zip", tenant="acme", invoice=invoice.id)
    assert made.holds
    assert "愛達" in (unpacked(made.path, tmp_path / "p") / "events.jsonl").read_text()
