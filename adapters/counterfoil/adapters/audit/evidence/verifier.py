"""Verifies an evidence pack of Counterfoil: one file, for Python 3.8 or later, nothing to install.

    python3 -I -S verify.py PACK.zip          or, where it was unpacked:  python3 -I -S verify.py

README.txt in the pack says what is proved. Nothing is unpacked or written, nothing that the pack
says is executed, and no more of it is held in memory than one fact and what documents come to.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import csv
import hashlib
import io
import json
import re
import struct
import sys
import zipfile
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FORMAT = "counterfoil evidence 1"
MANIFEST, SIGNATURE, SUMS = "manifest.json", "manifest.sig", "SHA256SUMS"
EVENTS, PROOFS, CHECKPOINT = "events.jsonl", "proofs.jsonl", "checkpoint.json"
NUMBERS, VERIFIER, README = "numbers.csv", "verify.py", "README.txt"
READABLE = ("invoice.json", "invoices.jsonl", "credit_notes.jsonl")
NEEDED = (README, VERIFIER, CHECKPOINT, EVENTS, PROOFS, NUMBERS)

# What a hostile pack may have us hold in memory at once.
LINE_MAX, FILE_MAX, CHUNK = 1 << 24, 1 << 28, 1 << 20
SIGNED_AS = b"counterfoil evidence v1\n"
CHECKPOINT_SIGNED_AS = b"counterfoil checkpoint v1\n"
# The end of the zip repeats this, followed by the SHA-256 of all that is before that end.
SEALED_AS = b"counterfoil evidence "

HOLDS, DOES_NOT_HOLD, MISUSED = 0, 1, 2


class Bad(Exception):
    """Something is not what it must be; the message names it."""


# What reading something else than we wrote may come to.
ODD = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,  # a way to compress that zipfile does not know
    OSError,
    RecursionError,
    RuntimeError,
    TypeError,
    ValueError,
    struct.error,
    zipfile.BadZipFile,
)


# --- what is found ------------------------------------------------------------------------


class Check:
    """One question: how often it was answered badly, the first answer, and what it comes to."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.bad = 0
        self.first = ""
        self.says = ""

    def fail(self, problem: object) -> None:
        """Take down one more problem."""
        self.bad += 1
        self.first = self.first or shown(problem)

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Take down what is bad, or cannot even be read, and go on."""
        try:
            yield
        except Bad as problem:
            self.fail(problem)
        except ODD as error:
            self.fail(f"what is written there cannot be read ({type(error).__name__})")

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "check": self.name,
            "holds": not self.bad,
            "says": self.says,
            "problems": self.bad,
            "first": self.first or None,
        }


class Report:
    """All checks in the order of the pack, and what they do not prove."""

    def __init__(self) -> None:
        self.checks: list[Check] = []
        self.unproved: list[str] = []
        self.about = ""
        self.digest = ""

    def check(self, name: str) -> Check:
        """A new check."""
        self.checks.append(Check(name))
        return self.checks[-1]

    @property
    def holds(self) -> bool:
        """Whether nothing bad was found."""
        return not any(check.bad for check in self.checks)

    @property
    def first(self) -> str | None:
        """The first problem, in the order of the checks."""
        return next((check.first for check in self.checks if check.bad), None)

    def as_json(self) -> dict[str, object]:
        """For machines."""
        return {
            "holds": self.holds,
            "first": self.first,
            "digest": self.digest,
            "about": self.about,
            "checks": [check.as_json() for check in self.checks],
            "not_proved": self.unproved,
        }


def shown(text: object) -> str:
    """Text of a pack as a terminal may be given it: no control characters, and no end of it."""
    plain = "".join(sign if sign.isprintable() else "?" for sign in str(text))
    return plain if len(plain) <= 400 else plain[:400] + "…"


# --- reading a pack -----------------------------------------------------------------------


class Member(NamedTuple):
    """Where the bytes of a file of the pack stand."""

    path: Path
    offset: int
    size: int


class Pack:
    """The files of a pack by their names, in a zip or where it was unpacked."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.members: dict[str, Member] = {}
        self.problems: list[str] = []
        self.sealed = True
        try:
            if path.is_dir():
                self._look_into_folder()
            else:
                self._look_into_zip()
        except ODD as error:
            raise Bad(f"{path.name}: it is no whole zip: {error}") from error

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of a file, piece by piece."""
        member = self._member(name)
        left = member.size
        with member.path.open("rb") as file:
            file.seek(member.offset)
            while left:
                chunk = file.read(min(CHUNK, left))
                if not chunk:
                    raise Bad(f"{name}: it is cut off")
                left -= len(chunk)
                yield chunk

    def content(self, name: str) -> bytes:
        """The bytes of a file that is not large."""
        if self._member(name).size > FILE_MAX:
            raise Bad(f"{name}: it is larger than any such file is")
        return b"".join(self.chunks(name))

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file, without their ends."""
        held = b""
        for chunk in self.chunks(name):
            *whole, held = (held + chunk).split(b"\n")
            if len(held) > LINE_MAX:
                raise Bad(f"{name}: a line is longer than any fact is")
            yield from whole
        if held:
            raise Bad(f"{name}: its last line is cut off")

    def _member(self, name: str) -> Member:
        if name not in self.members:
            raise Bad(f"{name}: it is missing")
        return self.members[name]

    def _look_into_folder(self) -> None:
        for path in sorted(self.path.rglob("*")):
            name = path.relative_to(self.path).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                self.problems.append(f"{name}: it is no plain file")
            elif path.is_file():
                self.members[name] = Member(path, 0, path.stat().st_size)

    def _look_into_zip(self) -> None:
        size = self.path.stat().st_size
        with zipfile.ZipFile(self.path) as archive, self.path.open("rb") as file:
            infos = archive.infolist()
            self.sealed = _hold_end(file, size, len(infos), bytes(archive.comment))
            for info in infos:
                self._place(info, file, size)
        if sum(member.size for member in self.members.values()) > size:
            self.problems.append(f"{self.path.name}: its files overlap in the zip")

    def _place(self, info: zipfile.ZipInfo, file: io.BufferedIOBase, size: int) -> None:
        name = info.filename
        file.seek(info.header_offset)
        header = file.read(30)
        if len(header) < 30 or header[:4] != b"PK\3\4":
            raise Bad(f"{name}: nothing of it is where the zip says")
        names, extras = struct.unpack("<HH", header[26:30])
        written = file.read(names)
        start = info.header_offset + 30 + names + extras
        stored = info.compress_type == zipfile.ZIP_STORED and info.compress_size == info.file_size
        if name in self.members:
            self.problems.append(f"{name}: it is there twice")
        elif written != name.encode() or not stored or info.flag_bits:
            self.problems.append(f"{name}: the zip says two things of it")
        elif struct.unpack("<I", header[14:18])[0] != info.CRC:
            self.problems.append(f"{name}: the zip says two checksums of it")
        if start + info.file_size > size:
            raise Bad(f"{name}: it is cut off")
        self.members[name] = Member(self.path, start, info.file_size if stored else 0)


def _hold_end(file: io.BufferedIOBase, size: int, count: int, comment: bytes) -> bool:
    """Whether the end of the zip is as it was written, and tells the digest of all before it."""
    end = size - 22 - len(comment)
    file.seek(end)
    tail = file.read()
    entries, length, offset = 0, 0, 0
    if len(tail) >= 22:
        entries, length, offset = struct.unpack("<HII", tail[10:20])
    expected = struct.pack(
        "<4sHHHHIIH", b"PK\5\6", 0, 0, entries, entries, length, offset, len(comment)
    )
    large = b""
    if end >= 76:
        file.seek(end - 76)
        large = file.read(76)
    if large[56:60] == b"PK\6\7":  # of more than 4 GB or 65,535 files: its own end comes before
        real_length, real_offset = struct.unpack("<QQ", large[40:56])
        placed = (length, offset) == (min(real_length, 0xFFFFFFFF), min(real_offset, 0xFFFFFFFF))
    else:
        placed = length + offset == end
    digest = hashlib.sha256()
    file.seek(0)
    left = end
    while left > 0:
        chunk = file.read(min(CHUNK, left))
        if not chunk:
            return False
        digest.update(chunk)
        left -= len(chunk)
    sealed = SEALED_AS + digest.hexdigest().encode()
    return tail == expected + sealed and placed and entries == min(count, 0xFFFF)


def from_json(name: str, content: bytes) -> Any:
    """What JSON says, if it is JSON."""
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError):
        raise Bad(f"{name}: it is no JSON") from None


def as_object(name: str, content: bytes) -> dict[str, Any]:
    """A JSON object."""
    said = from_json(name, content)
    if not isinstance(said, dict):
        raise Bad(f"{name}: it is no JSON object")
    return said


def field(said: Any, key: str, kind: Any, where: str) -> Any:
    """A value of a JSON object, if it is of this kind."""
    value = said.get(key) if isinstance(said, dict) else None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Bad(f"{where}: {key} is missing, or is none")
    return value


def from_hex(text: str, size: int, where: str) -> bytes:
    """Bytes that are written in small hexadecimal digits, the only way to write them."""
    if len(text) != 2 * size or set(text) - set("0123456789abcdef"):
        raise Bad(f"{where}: a hash is not {2 * size} hexadecimal digits")
    return bytes.fromhex(text)


# --- Ed25519 (RFC 8032) -------------------------------------------------------------------

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_D = -121665 * pow(121666, _P - 2, _P) % _P
_ROOT = pow(2, (_P - 1) // 4, _P)
_ZERO: tuple[int, ...] = (0, 1, 1, 0)


def _add(one: tuple[int, ...], two: tuple[int, ...]) -> tuple[int, ...]:
    a = (one[1] - one[0]) * (two[1] - two[0]) % _P
    b = (one[1] + one[0]) * (two[1] + two[0]) % _P
    c = 2 * one[3] * two[3] * _D % _P
    d = 2 * one[2] * two[2] % _P
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % _P, g * h % _P, f * g % _P, e * h % _P


def _times(number: int, point: tuple[int, ...]) -> tuple[int, ...]:
    made = _ZERO
    while number:
        if number & 1:
            made = _add(made, point)
        point = _add(point, point)
        number >>= 1
    return made


def _x_of(y: int, odd: int) -> int | None:
    square = (y * y - 1) * pow(_D * y * y + 1, _P - 2, _P) % _P
    x = pow(square, (_P + 3) // 8, _P)
    if (x * x - square) % _P:
        x = x * _ROOT % _P
    if (x * x - square) % _P or (x == 0 and odd):
        return None
    return x if x % 2 == odd else _P - x


def _point(written: bytes) -> tuple[int, ...] | None:
    number = int.from_bytes(written, "little")
    y, odd = number & ((1 << 255) - 1), number >> 255
    x = _x_of(y, odd) if y < _P else None
    return None if x is None else (x, y, 1, x * y % _P)


def _written(point: tuple[int, ...]) -> bytes:
    inverse = pow(point[2], _P - 2, _P)
    x, y = point[0] * inverse % _P, point[1] * inverse % _P
    return (y | (x & 1) << 255).to_bytes(32, "little")


def ed25519_verifies(public_key: bytes, signature: bytes, content: bytes) -> bool:
    """Whether the owner of a public key has signed this content."""
    owner = _point(public_key) if len(public_key) == 32 else None
    if owner is None or len(signature) != 64:
        return False
    factor = int.from_bytes(signature[32:], "little")
    if factor >= _L:
        return False
    base_y = 4 * pow(5, _P - 2, _P) % _P
    base_x = _x_of(base_y, 0) or 0
    base = (base_x, base_y, 1, base_x * base_y % _P)
    hashed = hashlib.sha512(signature[:32] + public_key + content).digest()
    challenge = int.from_bytes(hashed, "little") % _L
    negated = (_P - owner[0], owner[1], 1, _P - owner[3])
    return _written(_add(_times(factor, base), _times(challenge, negated))) == signature[:32]


def read_public_key(given: str) -> bytes:
    """A public key: a PEM file, a file of base64 or hexadecimal digits, or these digits."""
    text = given
    if len(given) < 200 and Path(given).is_file():
        text = Path(given).read_text(encoding="ascii", errors="replace")
    text = "".join(line for line in text.split("\n") if "-----" not in line)
    text = "".join(text.split())
    try:
        key = bytes.fromhex(text) if len(text) == 64 else base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) == 44 and key[:12] == bytes.fromhex("302a300506032b6570032100"):
        key = key[12:]
    if len(key) != 32:
        raise Bad(f"{given} is no public Ed25519 key")
    return key


# --- hashes, chains and the Merkle tree ---------------------------------------------------


def _text(value: str | None) -> bytes:
    if value is None:
        return struct.pack(">i", -1)
    written = value.encode(errors="surrogateescape")
    return struct.pack(">i", len(written)) + written


def hash_of(previous: bytes, fact: dict[str, Any], body: bytes) -> bytes:
    """The hash of a fact after the one before it in its stream."""
    texts = ("tenant", "stream", "type", "actor_type", "actor_id", "command_id")
    return hashlib.sha256(
        previous
        + struct.pack(">qq", fact["version"], fact["recorded_at"])
        + b"".join(_text(fact[name]) for name in texts)
        + _text(fact["causation_id"])
        + _text(fact["correlation_id"])
        + struct.pack(">i", len(body))
        + body
    ).digest()


def siblings(index: int, size: int) -> list[tuple[int, int]]:
    """Which leaves each hash of an inclusion proof stands for, lowest first (RFC 6962, 2.1.1)."""
    ranges = []
    start, end = 0, size
    while end - start > 1:
        middle = start + (1 << (end - start - 1).bit_length() - 1)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return ranges[::-1]


def root_from(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes | None:
    """The root that a leaf and its proof lead to; None if no proof of this place can be so."""
    ranges = siblings(index, size) if 0 <= index < size else []
    if len(ranges) != len(path) or not 0 <= index < size:
        return None
    above = leaf
    for place, sibling in enumerate(path):
        pair = sibling + above if ranges[place][1] <= index else above + sibling
        above = hashlib.sha256(b"\1" + pair).digest()
    return above


# --- what documents come to (EN 16931; amounts are whole minor units) ---------------------

# ISO 4217; all others have two decimals.
_DECIMALS = {
    code: places
    for places, codes in {
        0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
        3: "BHD IQD JOD KWD LYD OMR TND",
        4: "CLF UYW",
    }.items()
    for code in codes.split()
}
_NUMBER = re.compile(r"-?[0-9]{1,18}(\.[0-9]{1,12})?")


def decimals(currency: str) -> int:
    """How many decimals a currency has."""
    return _DECIMALS.get(currency, 2)


def exact(said: Any) -> Fraction:
    """A number that is written out."""
    if not isinstance(said, str) or not _NUMBER.fullmatch(said):
        raise Bad("a number is not written as one")
    return Fraction(said)


def rounded(value: Fraction) -> int:
    """The nearest whole number; a half goes away from zero."""
    size = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return size if value >= 0 else -size


def spread(total: int, weights: list[int]) -> list[int]:
    """A total split in proportion to weights, so that the parts sum to it (largest remainder)."""
    whole = sum(weights)
    if whole == 0:
        weights = [abs(weight) for weight in weights]
        whole = sum(weights)
    if whole == 0:
        return [total] + [0] * (len(weights) - 1) if weights else []
    sign = 1 if whole > 0 else -1
    parts = [divmod(total * weight * sign, whole * sign) for weight in weights]
    shares = [share for share, _ in parts]
    for place in sorted(range(len(parts)), key=lambda one: -parts[one][1])[: total - sum(shares)]:
        shares[place] += 1
    return shares


def tax_key(tax: Any) -> tuple[object, ...]:
    """What tells one tax from another: 19 and 19.00 are the same."""
    return exact(tax["rate"]), tax["category"], tax["exemption_reason"], tax["inclusive"]


def _tax(tax: Any, amount: int) -> int:
    rate = exact(tax["rate"])
    if tax["inclusive"]:
        return rounded(amount * rate / (100 + rate))
    return rounded(amount * rate / 100)


def priced(line: Any, currency: str) -> dict[str, int]:
    """The figures of a line: rounded are its discount and what is left, nothing else."""
    full = exact(line["quantity"]) * exact(line["unit_price"]) * 10 ** decimals(currency)
    discount = line["discount"] or {}
    taken = 0
    if discount.get("percent") is not None:
        taken = rounded(full * exact(discount["percent"]) / 100)
    elif discount.get("amount") is not None:
        taken = rounded(exact(discount["amount"]) * 10 ** decimals(currency))
        taken = taken if full >= 0 else -taken
    amount = rounded(full - taken)
    amount = 0 if amount * full < 0 else amount
    net = amount - _tax(line["tax"], amount) if line["tax"]["inclusive"] else amount
    return {"discounted": taken, "amount": amount, "net": net}


class Draft:
    """The lines of a document until it is finalized, and how it rounds."""

    def __init__(self, said: Any) -> None:
        self.currency: str = said["currency"]
        self.per_line = said["tax_rounding"] == "per_line"
        self.lines: dict[str, Any] = {}
        self.discount: Any = None

    def totals(self) -> dict[str, Any]:
        """What it comes to: net, tax for each group, and the total (BR-CO-10 to 17)."""
        units = self._units()
        agreed = [sum(line["amount"] for line in lines) for _, lines in units]
        groups: dict[object, list[Any]] = {}
        reduced = 0
        for (tax, _), amount, reduction in zip(  # noqa: B905  (Python 3.8 knows no `strict`)
            units, agreed, spread(self._reduction(sum(agreed)), agreed)
        ):
            left = amount - reduction
            part = _tax(tax, left)
            inclusive = tax["inclusive"]
            reduced += reduction - (_tax(tax, reduction) if inclusive else 0)
            sums = groups.setdefault(tax_key(tax), [tax_key(tax), 0, 0])
            sums[1] += left - part if inclusive else left
            sums[2] += part
        subtotal = sum(line["net"] for line in self.lines.values())
        taxes = sum(sums[2] for sums in groups.values())
        total = taxes + sum(sums[1] for sums in groups.values())
        return {
            "subtotal": subtotal,
            "discount": reduced,
            "tax": taxes,
            "rounding": total - (subtotal - reduced + taxes),
            "total": total,
            "groups": [tuple(sums) for sums in groups.values()],
        }

    def _units(self) -> list[tuple[Any, list[Any]]]:
        if self.per_line:
            return [(line["tax"], [line]) for line in self.lines.values()]
        units: dict[object, tuple[Any, list[Any]]] = {}
        for line in self.lines.values():
            units.setdefault(tax_key(line["tax"]), (line["tax"], []))[1].append(line)
        return list(units.values())

    def _reduction(self, agreed: int) -> int:
        discount = self.discount or {}
        if discount.get("percent") is not None:
            return rounded(agreed * exact(discount["percent"]) / 100)
        if discount.get("amount") is not None:
            taken = rounded(exact(discount["amount"]) * 10 ** decimals(self.currency))
            return min(taken, max(agreed, 0))
        return 0


class Document(NamedTuple):
    """What the fact says that gave a document its number."""

    kind: str
    number: str
    series: str
    issued_on: str
    currency: str
    subtotal: int
    tax: int
    total: int


class Place(NamedTuple):
    """A number as its series gave it."""

    place: int
    number: str
    document: str
    issued_on: str


class Print(NamedTuple):
    """A document as a fact says that it was stored."""

    position: int
    stream: str
    key: str
    sha256: str
    size: int


class Books:
    """What the facts of a pack come to, fact by fact; says what does not add up."""

    def __init__(self) -> None:
        self.drafts: dict[str, Draft] = {}
        self.documents: dict[str, Document] = {}
        self.credits: dict[tuple[str, str], Any] = {}
        self.applied: dict[tuple[str, str], Any] = {}
        self.first: dict[str, int] = {}
        self.kinds: dict[str, str] = {}
        self.places: dict[str, list[Place]] = {}
        self.prints: dict[int, Print] = {}
        self.types_unknown: set[str] = set()
        self.recomputed = 0

    def take(self, fact: dict[str, Any], body: bytes) -> str | None:
        """What does not add up in one more fact, if anything does not."""
        name, version = str(fact["type"]).rsplit(".", 1)[0], str(fact["type"]).rsplit(".", 1)[-1]
        if name not in self.READ:
            return None
        if version != "v1":
            self.types_unknown.add(str(fact["type"]))
            return None
        try:
            said = json.loads(body.decode())
            problem: str | None = self.READ[name](self, fact, said)
        except Bad as error:
            return str(error)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ArithmeticError):
            return f"the body is no {fact['type']}"
        return problem

    def _drafted(self, fact: dict[str, Any], said: Any) -> None:
        self.drafts[fact["stream"]] = Draft(said)

    def _line(self, fact: dict[str, Any], said: Any) -> str | None:
        draft, line = self.drafts[fact["stream"]], said["line"]
        draft.lines[line["id"]] = line
        for name, figure in priced(line, draft.currency).items():
            if line[name] != figure:
                return f"the {name} of a line is {line[name]}, and comes to {figure}"
        return None

    def _line_removed(self, fact: dict[str, Any], said: Any) -> None:
        del self.drafts[fact["stream"]].lines[said["line"]]

    def _discount(self, fact: dict[str, Any], said: Any) -> None:
        self.drafts[fact["stream"]].discount = said["discount"]

    def _finalized(self, fact: dict[str, Any], said: Any) -> str | None:
        draft, totals = self.drafts.pop(fact["stream"]), dict(said["totals"])
        self.documents[fact["stream"]] = Document(
            "invoice",
            str(said["number"]),
            str(said["series"]),
            str(said["issued_on"]),
            draft.currency,
            int(totals["subtotal"]),
            int(totals["tax"]),
            int(totals["total"]),
        )
        self.recomputed += 1
        totals["groups"] = [
            (tax_key(group["tax"]), group["taxable"], group["amount"]) for group in totals["groups"]
        ]
        for name, figure in draft.totals().items():
            if totals[name] != figure:
                word = "tax by group" if name == "groups" else name
                return f"the {word} of {said['number']} is not what its lines come to"
        return None

    def _issued(self, fact: dict[str, Any], said: Any) -> str | None:
        credit = said["credit"]
        self.documents[fact["stream"]] = Document(
            "credit_note",
            str(said["number"]),
            str(said["series"]),
            str(said["issued_on"]),
            str(said["currency"]),
            int(credit["subtotal"]),
            int(credit["tax"]),
            int(credit["total"]),
        )
        self.credits[said["invoice"], fact["stream"]] = _went(said)
        self.recomputed += 1
        subtotal = sum(group["taxable"] for group in credit["groups"])
        tax = sum(group["amount"] for group in credit["groups"])
        if (subtotal, tax, subtotal + tax) != (credit["subtotal"], credit["tax"], credit["total"]):
            return f"{said['number']} is not the sum of its tax groups"
        if sum(line["taxable"] for line in credit["lines"]) != subtotal:
            return f"{said['number']} is not the sum of its lines"
        if sum(_went(said)[1:]) != credit["total"]:
            return f"{said['number']}: where it went does not add up to it"
        return None

    def _applied(self, fact: dict[str, Any], said: Any) -> None:
        self.applied[fact["stream"], said["credit_note"]] = _went(said)

    def _opened(self, fact: dict[str, Any], said: Any) -> str | None:
        self.first[fact["stream"]] = int(said["first"])
        self.kinds[fact["stream"]] = str(said["kind"])
        return None if fact["version"] == 1 else "a series is opened by its first fact"

    def _assigned(self, fact: dict[str, Any], said: Any) -> str | None:
        stream = fact["stream"]
        place = Place(
            int(said["place"]), *(str(said[name]) for name in ("number", "document", "issued_on"))
        )
        before = self.places.setdefault(stream, [])
        last = before[-1] if before else None
        before.append(place)
        if place.place != self.first[stream] + fact["version"] - 2:
            return f"number {place.number} is not the next of its series"
        if last is not None and place.issued_on < last.issued_on:
            return f"number {place.number} is dated before the one before it"
        return None

    def _stored(self, fact: dict[str, Any], said: Any) -> None:
        self.prints[fact["position"]] = Print(
            fact["position"],
            fact["stream"],
            str(said["key"]),
            str(said["sha256"]),
            int(said["size"]),
        )

    READ: ClassVar[dict[str, Any]] = {
        "invoice.drafted": _drafted,
        "invoice.line_added": _line,
        "invoice.line_changed": _line,
        "invoice.line_removed": _line_removed,
        "invoice.discount_set": _discount,
        "invoice.finalized": _finalized,
        "invoice.credit_applied": _applied,
        "invoice.document_stored": _stored,
        "credit_note.issued": _issued,
        "credit_note.document_stored": _stored,
        "series.opened": _opened,
        "series.number_assigned": _assigned,
    }

    def numbered(self, period: str) -> Iterator[tuple[str, Place]]:
        """The numbers that were used in a period, by series and place; all of them in "" ."""
        for series in sorted(self.places):
            for place in self.places[series]:
                if place.issued_on.startswith(period):
                    yield series, place

    def csv(self, period: str) -> Iterator[bytes]:
        """The list of numbers, as it is in the pack."""
        head = ["series", "place", "number", "kind", "document", "issued_on", "currency", "total"]
        yield csv_row(head)
        for series, place in self.numbered(period):
            document = self.documents.get(place.document)
            money = [document.currency, _major(document)] if document else ["", ""]
            of = [series.split(":", 1)[-1], str(place.place), place.number]
            kind = self.kinds.get(series, "")
            yield csv_row([*of, kind, place.document, place.issued_on, *money])


def _went(said: Any) -> tuple[int, ...]:
    names = ("before_payment", "refund", "customer_credit", "out_of_band")
    return (said["credit"]["total"], *(int(said[name]) for name in names))


def _major(document: Document) -> str:
    places = decimals(document.currency)
    digits = f"{abs(document.total):0{places + 1}d}"
    whole, cents = (digits[:-places], "." + digits[-places:]) if places else (digits, "")
    return ("-" if document.total < 0 else "") + whole + cents


def csv_row(cells: list[str]) -> bytes:
    """A line of CSV; a cell that a spreadsheet would take for a formula is text to it."""
    line = io.StringIO()
    numeric = re.compile(r"-?[0-9.]+")
    safe = ["'" + one if one[:1] in "=+-@" and not numeric.fullmatch(one) else one for one in cells]
    csv.writer(line, lineterminator="\n").writerow([one if one != "'" else "" for one in safe])
    return line.getvalue().encode(errors="surrogateescape")


# --- the checks ---------------------------------------------------------------------------


class Trust(NamedTuple):
    """What was handed over apart from the pack."""

    public_keys: tuple[bytes, ...] = ()
    unsigned: bool = False
    digest: str | None = None
    checkpoint: Path | None = None


class Verification:
    """One pack, check by check."""

    def __init__(self, pack: Pack, trust: Trust) -> None:
        self.pack = pack
        self.trust = trust
        self.report = Report()
        self.manifest: dict[str, Any] = {}
        self.checkpoint: dict[str, Any] = {}
        self.sums: dict[str, str] = {}
        self.books = Books()
        self.signed = False

    def run(self) -> Report:
        """All checks; one that fails stops no other."""
        zipped = self.report.check("folder" if self.pack.path.is_dir() else "zip")
        for problem in self.pack.problems:
            zipped.fail(problem)
        self._manifest()  # first: what it says of the files is worth nothing if it was changed
        self._files()
        if self.report.holds and not self.pack.sealed:
            zipped.fail(
                f"{self.pack.path.name}: bytes of the zip itself, around its files, were changed"
                " (one that was unpacked and zipped again is verified where it is unpacked)"
            )
        zipped.says = f"{len(self.pack.members)} files, nothing around them"
        self._checkpoint()
        self._facts()
        self._numbers()
        self._prints()
        self._readable()
        self._about()
        return self.report

    # --- the pack as files ----------------------------------------------------------------

    def _files(self) -> None:
        check = self.report.check("files")
        listed = self.manifest.get("files")
        if not isinstance(listed, dict):
            listed = {}
            check.fail(f"{MANIFEST}: it lists no files")
        for name in sorted(set(NEEDED) - set(listed)):
            check.fail(f"{name}: the manifest does not list it")
        for name, said in listed.items():
            with check.holding():
                self._file(name, said)
        allowed = {MANIFEST, SIGNATURE, SUMS, *listed}
        for name in self.pack.members:
            if name not in allowed:
                check.fail(f"{name}: it is in the pack, but not in the manifest")
        check.says = f"{len(listed)} are those of the manifest, none is missing, none is extra"

    def _file(self, name: str, said: Any) -> None:
        digest, size = hashlib.sha256(), 0
        for chunk in self.pack.chunks(name):
            digest.update(chunk)
            size += len(chunk)
        self.sums[name] = digest.hexdigest()
        if field(said, "size", int, f"{MANIFEST}, {name}") != size:
            raise Bad(f"{name}: it has {size} bytes, the manifest says {said['size']}")
        if field(said, "sha256", str, f"{MANIFEST}, {name}") != self.sums[name]:
            raise Bad(f"{name}: its bytes are not those that the manifest tells the SHA-256 of")

    def _manifest(self) -> None:
        check = self.report.check("manifest")
        with check.holding():
            content = self.pack.content(MANIFEST)
            self.report.digest = hashlib.sha256(content).hexdigest()
            self._sums(content)
        with check.holding():
            self.manifest = as_object(MANIFEST, self.pack.content(MANIFEST))
            if self.manifest.get("format") != FORMAT:
                raise Bad(f"{MANIFEST}: this verifier reads {FORMAT}, and it is another")
        check.says = f"sha256 {self.report.digest}"
        with check.holding():
            if self.trust.digest not in (None, self.report.digest):
                raise Bad(f"{MANIFEST}: its digest is not {self.trust.digest}")
        self._signature(self.report.check("signature"))

    def _sums(self, content: bytes) -> None:
        """The digests in a file of their own, so that no byte of the manifest changes unseen."""
        lines = {MANIFEST: content}
        if SIGNATURE in self.pack.members:
            lines[SIGNATURE] = self.pack.content(SIGNATURE)
        expected = "".join(
            f"{hashlib.sha256(one).hexdigest()}  {name}\n" for name, one in lines.items()
        )
        if self.pack.content(SUMS) != expected.encode():
            raise Bad(f"{SUMS}: its digests are not those of {' and '.join(lines)}")

    def _signature(self, check: Check) -> None:
        if SIGNATURE not in self.pack.members:
            check.says = "the pack is not signed"
            if self.trust.public_keys and not self.trust.unsigned:
                check.fail(
                    f"{SIGNATURE}: it is missing, so anybody could have made this pack of facts"
                    " under the checkpoint, and left some out; --unsigned-pack accepts that"
                )
            return
        with check.holding():
            said = from_json(SIGNATURE, self.pack.content(SIGNATURE))
            signed = SIGNED_AS + self.pack.content(MANIFEST)
            check.says = self._signed(SIGNATURE, said, signed)
            self.signed = True

    def _signed(self, name: str, said: Any, content: bytes) -> str:
        """Whose signature it is, in words; a key that the pack itself names says nothing yet."""
        try:
            key = base64.b64decode(field(said, "public_key", str, name), validate=True)
            signature = base64.b64decode(field(said, "signature", str, name), validate=True)
        except (ValueError, binascii.Error):
            raise Bad(f"{name}: its key or signature is no base64") from None
        if not ed25519_verifies(key, signature, content):
            raise Bad(f"{name}: the signature is not one of what was signed")
        written = base64.b64encode(key).decode()
        if not self.trust.public_keys:
            return f"signed by the owner of {written}, whoever that is"
        if key not in self.trust.public_keys:
            raise Bad(f"{name}: signed by {written}, which is not the --public-key")
        return "signed by the owner of the --public-key"

    def _checkpoint(self) -> None:
        check = self.report.check("checkpoint")
        with check.holding():
            said = as_object(CHECKPOINT, self.pack.content(CHECKPOINT))
            if not 0 < field(said, "size", int, CHECKPOINT) <= _LARGEST:
                raise Bad(f"{CHECKPOINT}: it has no size that a log can have")
            from_hex(field(said, "root", str, CHECKPOINT), 32, CHECKPOINT)
            self.checkpoint = said
            check.says = f"{said['size']} facts, root {said['root']}, "
            if said.get("signature") is None:
                check.says += "not signed"
            else:
                names = ("log", "made_at", "root", "size")
                signed = {name: said.get(name) for name in names}
                content = json.dumps(signed, separators=(",", ":")).encode()
                check.says += self._signed(CHECKPOINT, said, CHECKPOINT_SIGNED_AS + content)
            if self.trust.public_keys and not self.signed and said.get("signature") is None:
                raise Bad(f"{CHECKPOINT}: neither it nor the pack is signed by the --public-key")
        if self.trust.checkpoint is not None:
            with check.holding():
                self._same_checkpoint(self.trust.checkpoint)

    def _same_checkpoint(self, path: Path) -> None:
        try:
            mine = as_object(path.name, path.read_bytes())
        except OSError as error:
            raise Bad(f"{path}: it cannot be read: {error.strerror}") from error
        for name in ("size", "root"):
            if mine.get(name) != self.checkpoint.get(name):
                raise Bad(f"{CHECKPOINT}: its {name} is not that of {path.name}")

    # --- the facts ------------------------------------------------------------------------

    def _facts(self) -> None:
        chains = self.report.check("facts")
        proofs = self.report.check("proofs")
        amounts = self.report.check("amounts")
        walk = _Walk(self.manifest, self.checkpoint, self.books)
        count = 0
        with chains.holding():
            proved = self._proofs(proofs)
            for count, line in enumerate(self.pack.lines(EVENTS), 1):
                where = f"{EVENTS} line {count}"
                leaf = None
                with chains.holding():
                    leaf = walk.follow(line, where, amounts)
                with proofs.holding():
                    walk.prove(leaf, next(proved, None))
        with proofs.holding():
            if next(proved, None) is not None:
                raise Bad(f"{PROOFS}: it proves more facts than there are")
        with chains.holding():
            if count != self.manifest.get("facts") or not count:
                raise Bad(f"{EVENTS}: it has {count} facts, not as many as the manifest says")
        chains.says = (
            f"{count} in {len(walk.heads)} streams, each hash made again, no version missing"
        )
        proofs.says = f"{walk.proved} are among the {self.checkpoint.get('size')} of the checkpoint"
        amounts.says = f"{self.books.recomputed} documents add up"
        self._credits(amounts)

    def _proofs(self, check: Check) -> Iterator[bytes]:
        with check.holding():
            yield from self.pack.lines(PROOFS)

    def _credits(self, check: Check) -> None:
        books = self.books
        for (invoice, note), went in books.credits.items():
            if invoice in books.documents and books.applied.get((invoice, note)) != went:
                check.fail(f"{EVENTS}: credit note {note} is not what stands against its invoice")
        if books.types_unknown:
            names = shown(", ".join(sorted(books.types_unknown)))
            self.report.unproved.append(f"amounts of facts that this verifier cannot read: {names}")

    # --- what the facts make --------------------------------------------------------------

    def _numbers(self) -> None:
        check = self.report.check("numbers")
        of, books = self.manifest.get("of"), self.books
        period = of.get("period", "") if isinstance(of, dict) else ""
        period = period if isinstance(period, str) else ""
        given: dict[str, tuple[str, Place]] = {}
        for series, place in books.numbered(period):
            given[place.document] = (series, place)
            document = books.documents.get(place.document)
            if document is None:
                check.fail(
                    f"{EVENTS}: {place.number} belongs to {place.document}, which is not in it"
                )
            elif (document.series, document.number, document.issued_on) != (
                series,
                place.number,
                place.issued_on,
            ):
                check.fail(f"{EVENTS}: {place.document} does not say the number {place.number}")
        for name, document in books.documents.items():
            if name not in given:
                check.fail(f"{EVENTS}: no series gave {document.number} to {name}")
        with check.holding():
            self._same_csv(period)
        gaps = "without a gap" if period else "each in its place"
        check.says = f"{len(given)} in {len(books.places)} series, {gaps}"
        if not period:
            self.report.unproved.append(
                "that the numbers before and after were used: a pack of a period shows that"
            )
        for series, places in self.books.places.items():
            if period and places[-1].issued_on.startswith(period):
                self.report.unproved.append(
                    f"that no number of the period follows {shown(places[-1].number)}: it is the"
                    f" last of {shown(series)} at the time of the checkpoint"
                )

    def _same_csv(self, period: str) -> None:
        lines = self.pack.lines(NUMBERS)
        for count, row in enumerate(self.books.csv(period), 1):
            if next(lines, None) != row[:-1]:
                raise Bad(f"{NUMBERS} line {count}: it is not what the facts say")
        if next(lines, None) is not None:
            raise Bad(f"{NUMBERS}: it has more numbers than the facts")

    def _prints(self) -> None:
        check = self.report.check("documents")
        entries = self.manifest.get("documents")
        there: dict[int, Any] = {}
        fresh = 0
        for entry in entries if isinstance(entries, list) else []:
            with check.holding():
                if field(entry, "state", str, MANIFEST) == "printed":
                    fresh += 1
                else:
                    there[field(entry, "position", int, MANIFEST)] = entry
        for position, one in self.books.prints.items():
            with check.holding():
                self._print(there.pop(position, None), one)
        for position in there:
            check.fail(
                f"{MANIFEST}: no fact at position {position} says that a document was stored"
            )
        check.says = f"{len(self.books.prints)} stored, with the SHA-256 of their facts"
        if fresh:
            self.report.unproved.append(
                f"{fresh} PDF printed for this pack, of documents that nothing was stored of"
            )

    def _print(self, entry: Any, one: Print) -> None:
        what = f"{one.key} (stored at position {one.position})"
        if entry is None:
            raise Bad(f"{MANIFEST}: it does not list {what}")
        name = entry.get("file")
        if not isinstance(name, str):
            raise Bad(f"{what}: {entry.get('state')} when the pack was made")
        if self.sums.get(name) != one.sha256:
            why = " when the pack was made already" if entry.get("state") != "stored" else ""
            raise Bad(f"{name}: it is not the document whose SHA-256 was recorded{why}")
        if self.pack.members[name].size != one.size:
            raise Bad(f"{name}: it is not as long as its fact says")

    def _readable(self) -> None:
        check = self.report.check("readable")
        said = 0
        for name in READABLE:
            if name not in self.pack.members:
                continue
            with check.holding():
                lines = [self.pack.content(name)] if name == READABLE[0] else self.pack.lines(name)
                for count, line in enumerate(lines, 1):
                    with check.holding():
                        self._agree(from_json(f"{name} line {count}", line), f"{name} line {count}")
                    said += 1
        check.says = f"{said} documents as read by people agree with their facts"

    def _agree(self, shown_: Any, where: str) -> None:
        identity = field(shown_, "id", str, where)
        document = self.books.documents.get(identity)
        if "unreadable" in shown_:
            raise Bad(f"{where}: {identity} could not be read when the pack was made")
        if document is None:
            if shown_.get("number") is not None:
                raise Bad(f"{where}: no fact gave {identity} a number")
            return
        for name in ("number", "issued_on", "currency", "subtotal", "tax", "total"):
            if shown_.get(name) != getattr(document, name):
                raise Bad(f"{where}: the {name} of {identity} is not what its fact says")

    # --- what is not proved ---------------------------------------------------------------

    def _about(self) -> None:
        of = self.manifest.get("of")
        what = (
            ", ".join(f"{name} {said}" for name, said in of.items()) if isinstance(of, dict) else ""
        )
        self.report.about = shown(
            f"tenant {self.manifest.get('tenant')}, {what}, as of {self.manifest.get('as_of')}"
        )
        unproved = self.report.unproved
        trust, proven = self.trust, bool(self.trust.public_keys)
        if not proven and trust.checkpoint is None and trust.digest is None:
            unproved.append(
                "who made this pack, and that it was not made anew as a whole: compare the digest"
                " with the one that you were given, or say --public-key or --checkpoint"
            )
        if not (self.signed and proven) and trust.digest is None:
            unproved.append(
                "that no series, and no fact at the end of a document's history, was left out: only"
                " the signature of the pack, or a digest that came another way, shows that"
            )
        unproved.append("that what was recorded is true: only that it is what was recorded")


class _Walk:
    """The facts of a pack one by one: rows, chains, and their way to the root."""

    def __init__(self, manifest: dict[str, Any], checkpoint: dict[str, Any], books: Books) -> None:
        of = manifest.get("of")
        self.tenant = manifest.get("tenant")
        self.excerpts = isinstance(of, dict) and "invoice" in of
        self.size = checkpoint.get("size", 0)
        self.root = checkpoint.get("root", "")
        self.books = books
        self.heads: dict[str, tuple[int, bytes]] = {}
        self.position = 0
        self.path: list[bytes] = []
        self.place = ""
        self.proved = 0

    def follow(self, line: bytes, where: str, amounts: Check) -> tuple[int, bytes]:
        """Hold a fact against its row and its stream; its leaf in the tree, and its position."""
        self.place = where
        fact = from_json(where, line)
        _hold_shape(fact, where)
        position, stream, version = fact["position"], fact["stream"], fact["version"]
        self.place = where = (
            f"{where} (position {position}, stream {shown(stream)}, version {version})"
        )
        body, hash_ = _body(fact, where), from_hex(fact["hash"], 32, where)
        previous = from_hex(fact["previous"], 32, where)
        problem = self._misplaced(fact, previous)
        if problem is None and hash_of(previous, fact, body) != hash_:
            problem = "its hash is not that of its row after the fact before it"
        self.heads[stream] = (version, hash_)
        self.position = max(self.position, position)
        wrong = self.books.take(fact, body)
        if wrong is not None:
            amounts.fail(f"{where}: {wrong}")
        if problem is not None:
            raise Bad(f"{where}: {problem}")
        leaf = hashlib.sha256(b"\0" + struct.pack(">q", position) + hash_).digest()
        return position, leaf

    def _misplaced(self, fact: dict[str, Any], previous: bytes) -> str | None:
        stream, version = fact["stream"], fact["version"]
        before, head = self.heads.get(stream, (0, bytes(32)))
        if fact["tenant"] != self.tenant:
            return "it is of another tenant"
        if fact["position"] <= self.position:
            return "it does not come after the one before it in the log"
        if version == before + 1:
            return None if previous == head else "it does not follow the fact before it"
        if self.excerpts and stream.startswith("series:") and version > before:
            return None  # of a whole series, only what concerns this invoice is here
        return f"version {version} follows version {before} of its stream"

    def prove(self, leaf: tuple[int, bytes] | None, line: bytes | None) -> None:
        """Follow the proof of a fact to the root of the checkpoint."""
        where = self.place
        if line is None:
            raise Bad(f"{PROOFS}: nothing proves {where}")
        said = from_json(PROOFS, line)
        kept = field(said, "kept", int, f"{PROOFS}, of {where}")
        new = [from_hex(str(one), 32, PROOFS) for one in field(said, "path", list, PROOFS)]
        if not 0 <= kept <= len(self.path) or len(new) + kept > 64:
            raise Bad(f"{PROOFS}, of {where}: it keeps more than there was")
        # The upper end of the way is mostly that of the fact before.
        self.path = new + self.path[len(self.path) - kept :]
        if leaf is None:
            return
        index, position = field(said, "index", int, PROOFS), field(said, "position", int, PROOFS)
        root = root_from(leaf[1], index, self.size, self.path)
        if position != leaf[0] or root is None or root.hex() != self.root:
            raise Bad(f"{where}: it is not one of the facts of the checkpoint")
        self.proved += 1


_TEXTS = ("tenant", "stream", "type", "actor_type", "actor_id", "command_id", "previous", "hash")
_LARGEST = 2**63 - 1


def _hold_shape(fact: Any, where: str) -> None:
    for name in ("position", "version", "recorded_at"):
        if abs(field(fact, name, int, where)) > _LARGEST:
            raise Bad(f"{where}: {name} is larger than any")
    for name in _TEXTS:
        field(fact, name, str, where)
    for name in ("causation_id", "correlation_id"):
        if name not in fact or not isinstance(fact[name], (str, type(None))):
            raise Bad(f"{where}: {name} is no text")


def _body(fact: dict[str, Any], where: str) -> bytes:
    try:
        if "body" in fact:
            return bytes(field(fact, "body", str, where).encode())
        return base64.b64decode(field(fact, "body_base64", str, where), validate=True)
    except ValueError:
        raise Bad(f"{where}: its body is not written as one") from None


def verify(path: Path, trust: Trust = Trust()) -> Report:  # noqa: B008  (it is immutable)
    """All that can be said of a pack."""
    try:
        pack = Pack(path)
    except Bad as problem:
        report = Report()
        report.check("zip").fail(problem)
        return report
    return Verification(pack, trust).run()


# --- the command line ---------------------------------------------------------------------


def _said(report: Report, me: str) -> Iterator[str]:
    yield f"Evidence pack: {report.about}"
    for check in report.checks:
        if check.bad:
            yield f"  FAILS  {check.name:<10} {check.first}"
            if check.bad > 1:
                yield f"         {'':<10} and {check.bad - 1} more"
        else:
            yield f"  holds  {check.name:<10} {check.says}"
    yield "Not proved:"
    for one in report.unproved:
        yield f"  - {one}"
    yield f"Digest of the pack:     {report.digest}"
    yield f"Digest of the verifier: {me}"
    yield "IT HOLDS." if report.holds else f"IT DOES NOT HOLD: {report.first}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="verify.py",
        description="Verify an evidence pack of Counterfoil. Exit status: 0 it holds, 1 it does"
        " not, 2 wrong usage.",
    )
    parser.add_argument(
        "pack",
        nargs="?",
        type=Path,
        help="the zip, or the folder that it was unpacked into (default: where this file is)",
    )
    parser.add_argument(
        "--public-key",
        action="append",
        default=[],
        metavar="KEY",
        help="who must have signed: a PEM file, or 32 bytes in base64 or hexadecimal digits, that"
        " you have from somewhere else; may be said twice",
    )
    parser.add_argument(
        "--unsigned-pack",
        action="store_true",
        help="with --public-key: it is enough that the checkpoint is signed",
    )
    parser.add_argument(
        "--digest", metavar="SHA256", help="the digest of the pack that you were given"
    )
    parser.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="a checkpoint that you have kept yourself"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def main(arguments: Iterable[str] | None = None) -> int:
    """Verify what the command line names, and say what was found."""
    here = Path(__file__).resolve()
    parser = _parser()
    parsed = parser.parse_args(None if arguments is None else list(arguments))
    pack = parsed.pack or here.parent
    if not (pack.is_file() or (pack / MANIFEST).is_file()):
        parser.error(f"there is no evidence pack at {shown(pack)}")
    try:
        keys = tuple(read_public_key(given) for given in parsed.public_key)
    except Bad as problem:
        parser.error(shown(problem))
    digest = parsed.digest.strip().lower() if parsed.digest else None
    report = verify(pack, Trust(keys, parsed.unsigned_pack, digest, parsed.checkpoint))
    me = hashlib.sha256(here.read_bytes()).hexdigest()
    if parsed.json:
        print(json.dumps({**report.as_json(), "verifier": me}, indent=1))
    else:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal may know fewer letters
        print("\n".join(_said(report, me)))
    return HOLDS if report.holds else DOES_NOT_HOLD


if __name__ == "__main__":
    sys.exit(main())
