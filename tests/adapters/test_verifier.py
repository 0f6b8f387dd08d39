"""Is the verifier that is handed out right by itself: signatures, amounts, numbers of decimals, and
can a hostile pack do anything to whoever verifies it?
"""

from __future__ import annotations

import ast
import json
import struct
import zipfile
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st
from iso4217 import Currency

from counterfoil.adapters.audit import merkle
from counterfoil.adapters.audit.evidence import verifier
from counterfoil.adapters.audit.evidence.leaves import Leaves
from counterfoil.adapters.audit.evidence.verifier import Books, Draft, ed25519_verifies, priced
from counterfoil.adapters.event_store.chain import link
from counterfoil.adapters.event_store.codec import KINDS
from counterfoil.adapters.event_store.rows import NewRow
from counterfoil.domain.errors import Rejected
from counterfoil.domain.line import price
from counterfoil.domain.totals import total
from strategies import Sketch, invoices
from support.evidence import forge, office, said, unpacked, verified, year

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOURCE = files(verifier.__package__).joinpath("verifier.py").read_text(encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Vector:
    """A test vector of RFC 8032, 7.1."""

    public: str
    message: str
    signature: str


VECTORS = (
    Vector(
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf"
        "9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    Vector(
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f"
        "11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    Vector(
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984"
        "dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
)


# --- it runs anywhere ---------------------------------------------------------------------


def test_it_is_python_3_8_and_imports_the_standard_library_alone() -> None:
    tree = ast.parse(SOURCE, feature_version=(3, 8))
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [one.name for one in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert modules == {
        *("__future__", "argparse", "base64", "binascii", "collections", "contextlib", "csv"),
        *("fractions", "hashlib", "io", "json", "pathlib", "re", "struct", "sys", "typing"),
        "zipfile",
    }


def test_it_reads_the_newest_version_of_every_fact_that_it_reads() -> None:
    newest = {kind.stored_as for kind in KINDS}
    assert {f"{name}.v1" for name in Books.READ} <= newest


def test_it_knows_the_decimals_of_every_currency() -> None:
    theirs = {one.code: one.exponent for one in Currency if one.exponent is not None}
    assert {code: verifier.decimals(code) for code in theirs} == theirs


# --- signatures ---------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS)
def test_signatures_are_those_of_the_rfc(vector: Vector) -> None:
    key, message = bytes.fromhex(vector.public), bytes.fromhex(vector.message)
    signature = bytes.fromhex(vector.signature)
    assert ed25519_verifies(key, signature, message)
    assert not ed25519_verifies(key, signature, message + b"\0")
    for at in range(0, 64, 7):
        flipped = bytearray(signature)
        flipped[at] ^= 1
        assert not ed25519_verifies(key, bytes(flipped), message)


@given(seed=st.binary(min_size=32, max_size=32), message=st.binary(max_size=200))
def test_signatures_are_those_of_the_library(seed: bytes, message: bytes) -> None:
    secret = Ed25519PrivateKey.from_private_bytes(seed)
    key, signature = secret.public_key().public_bytes_raw(), secret.sign(message)
    assert ed25519_verifies(key, signature, message)
    # The same number once more is the same point, and must not be a second signature.
    factor = int.from_bytes(signature[32:], "little") + verifier._L
    assert not ed25519_verifies(key, signature[:32] + factor.to_bytes(32, "little"), message)
    assert not ed25519_verifies(bytes(32), signature, message)
    assert not ed25519_verifies(b"\xff" * 32, signature, message)
    assert not ed25519_verifies(key, signature[:-1], message)


# --- hashes, proofs and amounts -----------------------------------------------------------


@given(
    previous=st.binary(min_size=32, max_size=32),
    texts=st.lists(st.text(max_size=9), min_size=6, max_size=6),
    maybe=st.lists(st.none() | st.text(max_size=9), min_size=2, max_size=2),
    numbers=st.tuples(st.integers(0, 2**63 - 1), st.integers(-(2**63), 2**63 - 1)),
    body=st.binary(max_size=40),
)
def test_a_hash_is_that_of_the_store(
    previous: bytes,
    texts: list[str],
    maybe: list[str | None],
    numbers: tuple[int, int],
    body: bytes,
) -> None:
    row = NewRow(
        tenant=texts[0],
        stream=texts[1],
        version=numbers[0],
        type=texts[2],
        body=body,
        recorded_at=numbers[1],
        actor_type=texts[3],
        actor_id=texts[4],
        command_id=texts[5],
        causation_id=maybe[0],
        correlation_id=maybe[1],
        hash=b"",
    )
    assert verifier.hash_of(previous, row._asdict(), body) == link(previous, row)


@given(size=st.integers(1, 300), data=st.data())
def test_a_proof_from_disk_is_the_one_that_rfc_6962_says(size: int, data: st.DataObject) -> None:
    leaves = [merkle.leaf(position, bytes(32)) for position in range(1, size + 1)]
    chosen = data.draw(st.lists(st.integers(0, size - 1), min_size=1, unique=True).map(sorted))
    path: list[bytes] = []
    before = None
    with Leaves() as kept:
        kept.extend(leaves)
        kept.grow()
        assert kept.root() == merkle.root(leaves)
        for index in chosen:
            new, same = kept.path(index, before)
            path = [*new, *path[len(path) - same :]]
            before = index
            assert tuple(path) == merkle.inclusion_proof(leaves, index)
            assert verifier.root_from(leaves[index], index, size, path) == kept.root()


@given(sketch=invoices())
def test_amounts_are_those_of_the_domain(sketch: Sketch) -> None:
    try:
        lines = [price(item, sketch.currency) for item in sketch.lines]
        theirs = total(lines, sketch.discount, sketch.currency, sketch.tax_rounding)
    except Rejected:
        return
    draft = Draft({"currency": sketch.currency, "tax_rounding": sketch.tax_rounding.value})
    for line in lines:
        written = json.loads(line.model_dump_json())
        draft.lines[line.id] = written
        figures = {name: getattr(line, name) for name in ("discounted", "amount", "net")}
        assert priced(written, sketch.currency) == figures
    if sketch.discount is not None:
        draft.discount = json.loads(sketch.discount.model_dump_json())
    ours = draft.totals()
    told = json.loads(theirs.model_dump_json())
    for name in ("subtotal", "discount", "tax", "rounding", "total"):
        assert ours[name] == told[name]
    assert ours["groups"] == [
        (verifier.tax_key(group["tax"]), group["taxable"], group["amount"])
        for group in told["groups"]
    ]


# --- hostile packs ------------------------------------------------------------------------


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """A pack that holds."""
    with office(tmp_path / "counterfoil.db", tmp_path / "documents") as billing:
        year(billing)
        return billing.audit.export(tmp_path / "pack.zip", tenant="acme", period="2026").path


def _climbing(pack: Path, to: Path) -> None:
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(to, "w") as new:
        for info in old.infolist():
            new.writestr(info, old.read(info))
        for name in ("../../escaped", "/tmp/escaped", "..\\escaped", "C:\\escaped"):  # noqa: S108
            new.writestr(name, b"escaped")


def _bomb(pack: Path, to: Path) -> None:
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            if info.filename == "events.jsonl":
                with new.open(info.filename, "w", force_zip64=True) as file:
                    for _ in range(50):
                        file.write(bytes(1 << 20))
            else:
                new.writestr(info, old.read(info))


def _overlapping(pack: Path, to: Path) -> None:
    """Every file is the whole zip."""
    content = bytearray(pack.read_bytes())
    at = content.find(b"PK\1\2")
    while at >= 0:
        struct.pack_into("<II", content, at + 20, len(content) // 2, len(content) // 2)
        struct.pack_into("<I", content, at + 42, 0)
        at = content.find(b"PK\1\2", at + 4)
    to.write_bytes(content)


def _twice(pack: Path, to: Path) -> None:
    with zipfile.ZipFile(pack) as old, zipfile.ZipFile(to, "w") as new:
        for info in old.infolist():
            new.writestr(info, old.read(info))
        with pytest.warns(UserWarning, match="Duplicate"):
            new.writestr("numbers.csv", b"other numbers")


def _no_zip(_pack: Path, to: Path) -> None:
    to.write_bytes(b"%PDF-1.7 is no zip")


def _nothing(_pack: Path, to: Path) -> None:
    to.write_bytes(b"")


def _half(pack: Path, to: Path) -> None:
    to.write_bytes(pack.read_bytes()[: pack.stat().st_size // 2])


@pytest.mark.parametrize("make", [_climbing, _bomb, _overlapping, _twice, _no_zip, _nothing, _half])
def test_a_hostile_zip_does_no_harm_and_does_not_hold(
    pack: Path, tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    hostile = tmp_path / "hostile" / "pack.zip"
    hostile.parent.mkdir()
    make(pack, hostile)
    before = {path for path in tmp_path.rglob("*") if "empty" not in path.parts}
    verified(pack, at=tmp_path)
    done = verified(hostile, "--json", at=tmp_path)
    assert not said(done)["holds"]
    after = {path for path in tmp_path.rglob("*") if "empty" not in path.parts}
    assert after - before == {tmp_path / "verify.py"}


DEEP = "[" * 100_000
ODD: tuple[tuple[str, str], ...] = (
    ("manifest.json", DEEP),
    ("manifest.json", "[]"),
    ("manifest.json", '{"files": {"../../etc/passwd": {"sha256": "", "size": 1}}}'),
    ("manifest.json", '{"files": 1, "documents": 7, "of": [], "format": null}'),
    ("checkpoint.json", "{}"),
    ("checkpoint.json", '{"size": 1e400, "root": "x"}'),
    ("checkpoint.json", f'{{"size": {"9" * 4000}, "root": "{"0" * 64}"}}'),
    ("events.jsonl", DEEP + "\n"),
    ("events.jsonl", "null\n"),
    ("events.jsonl", "{}\n{}\n"),
    ("events.jsonl", "no end of line"),
    ("proofs.jsonl", '{"kept": 1000000000, "path": []}\n'),
    ("proofs.jsonl", "\xff\n"),
    ("invoices.jsonl", "7\n"),
    ("numbers.csv", "\n"),
)


@pytest.mark.parametrize(("name", "content"), ODD)
def test_odd_content_is_said_and_does_not_stop_the_verifier(
    pack: Path, tmp_path: Path, name: str, content: str
) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    (folder / name).write_text(content, encoding="latin-1")
    if name != "manifest.json":
        forge(folder)
    report = verifier.verify(folder)
    assert not report.holds
    assert report.first
    assert json.dumps(report.as_json())


def test_numbers_without_end_take_no_time(pack: Path, tmp_path: Path) -> None:
    folder = unpacked(pack, tmp_path / "pack")
    events = (folder / "events.jsonl").read_text()
    for price_ in ("1e999999999", "9" * 5000, "NaN", "1/3"):
        changed = events.replace('\\"unit_price\\":\\"98.50\\"', f'\\"unit_price\\":\\"{price_}\\"')
        assert changed != events
        (folder / "events.jsonl").write_text(changed)
        forge(folder)
        report = verifier.verify(folder)
        assert {one.name for one in report.checks if one.bad} >= {"facts", "amounts"}


def test_what_a_pack_says_cannot_write_to_the_terminal() -> None:
    assert verifier.shown("\x1b[2J IT HOLDS.\r\n") == "?[2J IT HOLDS.??"
    assert len(verifier.shown("x" * 10_000)) < 500


def test_it_asks_for_a_pack_where_there_is_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        verifier.main([str(tmp_path)])
    assert ended.value.code == 2
    assert "there is no evidence pack at" in capsys.readouterr().err
