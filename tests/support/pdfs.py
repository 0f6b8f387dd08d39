"""What does a print say, to someone who has nothing but its bytes?

Text and places are read back by pdfium, the objects behind them by pikepdf; the payment code is
read off the rendered page.
"""

from __future__ import annotations

import io
import re
import unicodedata
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pikepdf
import pikepdf.pdfa
import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from PIL.Image import Image

POINT_MM = 25.4 / 72


# --- text and places ------------------------------------------------------------------------


@contextmanager
def opened(pdf: bytes) -> Iterator[Any]:
    """The document as pdfium has it."""
    document = pdfium.PdfDocument(pdf)
    try:
        yield document
    finally:
        document.close()


def plain(text: str) -> str:
    """Text without what no reader sees: direction marks, and which kind of space it is."""
    seen = "".join(sign for sign in text if unicodedata.category(sign) != "Cf")
    return " ".join(seen.split())


def pages(pdf: bytes) -> list[str]:
    """The text of each page, on one line."""
    with opened(pdf) as document:
        return [plain(page.get_textpage().get_text_range()) for page in document]


def text(pdf: bytes) -> str:
    """The text of all pages, on one line."""
    return " ".join(pages(pdf))


def letters(words: str) -> str:
    """The letters in an order of their own: pdfium turns some that run right to left."""
    return "".join(sorted(unicodedata.normalize("NFKD", plain(words).replace(" ", ""))))


def page_count(pdf: bytes) -> int:
    """How many pages there are."""
    with opened(pdf) as document:
        return len(document)


@dataclass(frozen=True, slots=True)
class Place:
    """Where words stand on a page, in millimetres from its upper left corner."""

    page: int
    left: float
    top: float
    right: float
    bottom: float


def places(pdf: bytes, words: str) -> list[Place]:
    """Everywhere where the words stand, in the order of the pages."""
    found = []
    with opened(pdf) as document:
        for number, page in enumerate(document):
            height, read = page.get_height(), page.get_textpage()
            searcher = read.search(words, match_case=True)
            while hit := searcher.get_next():
                start, count = hit
                boxes = [read.get_charbox(start + each) for each in range(count)]
                left, bottom = min(box[0] for box in boxes), min(box[1] for box in boxes)
                right, top = max(box[2] for box in boxes), max(box[3] for box in boxes)
                found.append(_place(number, height, (left, bottom, right, top)))
            searcher.close()
    return found


def place(pdf: bytes, words: str) -> Place:
    """Where the words stand first."""
    found = places(pdf, words)
    assert found, f"{words!r} is nowhere"
    return found[0]


def signs(pdf: bytes) -> list[Place]:
    """Where each sign stands that leaves ink."""
    found = []
    with opened(pdf) as document:
        for number, page in enumerate(document):
            height, read = page.get_height(), page.get_textpage()
            whole = read.get_text_range()
            for index in range(min(read.count_chars(), len(whole))):
                one = _place(number, height, read.get_charbox(index))
                if not whole[index].isspace() and one.bottom - one.top > 0.05:
                    found.append(one)
    return found


def _place(page: int, height: float, box: Sequence[float]) -> Place:
    left, bottom, right, top = box
    there = (left, height - top, right, height - bottom)
    return Place(page, *(each * POINT_MM for each in there))


def boxes(pdf: bytes) -> list[tuple[Decimal, Decimal]]:
    """Width and height of each page in millimetres, to a tenth, by its MediaBox."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        corners = [[Decimal(str(each)) for each in page.mediabox] for page in document.pages]
    point = Decimal("25.4") / 72
    return [
        (round((right - left) * point, 1), round((top - bottom) * point, 1))
        for left, bottom, right, top in corners
    ]


def images(pdf: bytes) -> list[Place]:
    """Where pictures stand."""
    found = []
    with opened(pdf) as document:
        for number, page in enumerate(document):
            pictures = page.get_objects(filter=[pdfium_c.FPDF_PAGEOBJ_IMAGE])
            found += [_place(number, page.get_height(), one.get_bounds()) for one in pictures]
    return found


def drawn(pdf: bytes, page: int = 0, *, dots_per_mm: float = 4.0) -> Image:
    """A page as a picture in shades of grey."""
    with opened(pdf) as document:
        shown = document[page].render(scale=dots_per_mm * POINT_MM)
        picture: Image = shown.to_pil().convert("L")
        return picture


# --- objects --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Font:
    """A font as the PDF has it."""

    name: str
    embedded: bool
    subset: bool
    to_unicode: bool


def fonts(pdf: bytes) -> list[Font]:
    """Every font of the file, once."""
    found = {}
    with pikepdf.open(io.BytesIO(pdf)) as document:
        for one in document.objects:
            if not isinstance(one, pikepdf.Dictionary) or one.get("/Type") != "/Font":
                continue
            if "/DescendantFonts" not in one and "/ToUnicode" not in one:
                continue  # the half of a font that another one has
            half = one.DescendantFonts[0] if "/DescendantFonts" in one else one
            descriptor = half.FontDescriptor
            name = str(one.BaseFont).removeprefix("/")
            found[name] = Font(
                name=re.sub(r"^[A-Z]{6}\+", "", name),
                embedded=any(f"/FontFile{kind}" in descriptor for kind in ("", "2", "3")),
                subset=bool(re.match(r"[A-Z]{6}\+", name)),
                to_unicode="/ToUnicode" in one,
            )
    return list(found.values())


@dataclass(frozen=True, slots=True)
class Tag:
    """An element of the structure, with the names of those that hold it."""

    kind: str
    above: tuple[str, ...]
    alt: str | None
    id: str | None
    headers: tuple[str, ...]
    scope: str | None


def tags(pdf: bytes) -> list[Tag]:
    """The structure in the order in which it is read aloud."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        return list(_tags(document.Root.StructTreeRoot.K, ()))


def _tags(kid: Any, above: tuple[str, ...]) -> Iterator[Tag]:
    if isinstance(kid, pikepdf.Array):
        for each in kid:
            yield from _tags(each, above)
    elif isinstance(kid, pikepdf.Dictionary) and "/S" in kid:
        kind = str(kid.S).removeprefix("/")
        said: Any = kid.get("/A", pikepdf.Dictionary())
        headers = tuple(str(one) for one in said.get("/Headers", ()))
        yield Tag(
            kind=kind,
            above=above,
            alt=str(kid.Alt) if "/Alt" in kid else None,
            id=str(kid.ID) if "/ID" in kid else None,
            headers=headers,
            scope=str(said.Scope) if "/Scope" in said else None,
        )
        yield from _tags(kid.get("/K", ()), (*above, kind))


def orphans(pdf: bytes) -> int:
    """How many elements of structure no tree reaches."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        root = document.Root.StructTreeRoot
        reached, waiting = set(), [root.K]
        while waiting:
            kid = waiting.pop()
            if isinstance(kid, pikepdf.Array):
                waiting.extend(kid)
            elif isinstance(kid, pikepdf.Dictionary) and "/S" in kid:
                reached.add(kid.objgen)
                waiting.append(kid.get("/K", pikepdf.Array()))
        return sum(
            isinstance(one, pikepdf.Dictionary)
            and one.get("/Type") == "/StructElem"
            and one.objgen not in reached
            for one in document.objects
        )


@dataclass(frozen=True, slots=True)
class Painted:
    """A stretch of a page's text: what it is marked as, and how deep its mark is."""

    page: int
    mark: str
    number: int | None


def painted(pdf: bytes) -> list[Painted]:
    """What each stretch of painted text is marked as: a tag's name, `Artifact`, or nothing."""
    found = []
    with pikepdf.open(io.BytesIO(pdf)) as document:
        for number, page in enumerate(document.pages):
            marks: list[tuple[str, int | None]] = []
            for one in pikepdf.parse_content_stream(page):
                operands: Any = one.operands
                match str(one.operator):
                    case "BDC" | "BMC":
                        said = operands[1] if len(operands) > 1 else {}
                        mark = said.get("/MCID") if isinstance(said, pikepdf.Dictionary) else None
                        at = None if mark is None else int(mark)
                        marks.append((str(operands[0]).removeprefix("/"), at))
                    case "EMC":
                        marks.pop()
                    case "Tj" | "TJ":
                        name, at = marks[-1] if marks else ("", None)
                        found.append(Painted(number, name, at))
                    case _:
                        pass
    return found


def syntax_problems(pdf: bytes) -> list[str]:
    """What qpdf finds wrong with the file."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        return [*document.check_pdf_syntax(), *document.get_warnings()]


def archival_problems(pdf: bytes) -> list[str]:
    """Why the file is not PDF/A-3b, by the validator of pikepdf; nothing if it is."""
    report = pikepdf.pdfa.validate_written(io.BytesIO(pdf), "3b")
    assert report.passed != bool(report.findings)
    return [f"{one.rule}: {one.message} ({one.where})" for one in report.findings]


def empty_resources(pdf: bytes) -> list[str]:
    """Dictionaries of resources that hold nothing."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        return [
            name
            for one in document.objects
            for holder in _resources(one)
            for name in ("/Pattern", "/Shading")
            if name in holder and not len(holder[name])
        ]


def _resources(one: Any) -> Iterator[Any]:
    if isinstance(one, pikepdf.Dictionary | pikepdf.Stream):
        yield one
        if isinstance(one.get("/Resources"), pikepdf.Dictionary):
            yield one.Resources


@dataclass(frozen=True, slots=True)
class Attached:
    """A file that the PDF carries."""

    name: str
    content: bytes
    media_type: str
    dates: tuple[str, str]


def attached(pdf: bytes) -> list[Attached]:
    """Every file that the PDF associates with itself, in that order (`/AF`)."""
    with pikepdf.open(io.BytesIO(pdf)) as document:
        found = []
        for file in document.Root.get("/AF", ()):
            stream = file.EF.F
            dates = stream.Params.CreationDate, stream.Params.ModDate
            found.append(
                Attached(
                    name=str(file.UF),
                    content=stream.read_bytes(),
                    media_type=str(stream.Subtype).removeprefix("/"),
                    dates=(str(dates[0]), str(dates[1])),
                )
            )
        return found


# --- the payment code -----------------------------------------------------------------------


Squares = list[list[bool]]


def payment_code(pdf: bytes) -> str | None:
    """What a phone reads off the page, where there is one QR code; None where there is none.

    The squares are seen, not the bytes that were meant; without any dirt on them no error
    correction is needed. ISO/IEC 18004.
    """
    squares = code_squares(pdf)
    return None if squares is None else decoded(squares)


def code_squares(pdf: bytes) -> Squares | None:
    """The squares of the one QR code that stands on the pages, dark ones as True."""
    found = [code for one in images(pdf) if (code := _squares_at(pdf, one)) is not None]
    assert len(found) <= 1
    return found[0] if found else None


def spoilt_blocks(seen: Squares, meant: Squares) -> list[tuple[int, int]]:
    """For each block of words: how many are seen otherwise than meant, and how many may be."""
    mask, version = _mask(meant), (len(meant) - 17) // 4
    assert _mask(seen) == mask
    ours, theirs = (_blocks(_words(each, mask), version) for each in (seen, meant))
    may_be = _CHECK_WORDS[version - 1] // 2
    return [
        (sum(a != b for a, b in zip(one, other, strict=True)), may_be)
        for one, other in zip(ours, theirs, strict=True)
    ]


def _squares_at(pdf: bytes, at: Place) -> Squares | None:
    """The squares of the picture there, if it has the three corners of a QR code."""
    dots = 12.0
    page = drawn(pdf, at.page, dots_per_mm=dots)
    corners = (at.left * dots, at.top * dots, at.right * dots, at.bottom * dots)
    picture = page.crop(corners).point(lambda seen: 255 * (seen < 128))
    inked = picture.getbbox()  # without the quiet zone around it
    if inked is None:
        return None
    left, top, width = inked[0], inked[1], inked[2] - inked[0]

    def dark(x: float, y: float) -> bool:
        return bool(picture.getpixel((int(left + x), int(top + y))))

    # A corner begins with seven dark squares, seen along their middle.
    run = next((x for x in range(5, width) if not dark(x, width / 234)), 0)
    size = 4 * round((width / (run / 7) - 17) / 4) + 17 if run else 0
    if not 21 <= size <= 177 or abs(inked[3] - inked[1] - width) > 2:
        return None
    step = width / size
    squares = [[dark((x + 0.5) * step, (y + 0.5) * step) for x in range(size)] for y in range(size)]
    finder = [1, 1, 1, 1, 1, 1, 1], [1, 0, 0, 0, 0, 0, 1], [1, 0, 1, 1, 1, 0, 1]
    for x, y in ((0, 0), (size - 7, 0), (0, size - 7)):
        if any(
            squares[y + row][x : x + 7] != [bool(bit) for bit in finder[row]] for row in range(3)
        ):
            return None
    return squares


# Of level M, for each version: check words of a block, and blocks (table 9).
_CHECK_WORDS = (
    10,
    16,
    26,
    18,
    24,
    16,
    18,
    22,
    22,
    26,
    30,
    22,
    22,
    24,
    24,
    28,
    28,
    26,
    26,
    26,
    26,
    28,
    28,
    28,
    28,
)
_BLOCKS = (1, 1, 1, 2, 2, 4, 4, 4, 5, 5, 5, 8, 9, 9, 10, 10, 11, 13, 14, 16, 17, 17, 18, 20, 21)
_MASKS: tuple[Callable[[int, int], bool], ...] = (
    lambda x, y: (x + y) % 2 == 0,
    lambda x, y: y % 2 == 0,
    lambda x, y: x % 3 == 0,
    lambda x, y: (x + y) % 3 == 0,
    lambda x, y: (x // 3 + y // 2) % 2 == 0,
    lambda x, y: x * y % 2 + x * y % 3 == 0,
    lambda x, y: (x * y % 2 + x * y % 3) % 2 == 0,
    lambda x, y: ((x + y) % 2 + x * y % 3) % 2 == 0,
)


def decoded(squares: Squares) -> str:
    """What the squares say."""
    version = (len(squares) - 17) // 4
    blocks = _blocks(_words(squares, _mask(squares)), version)
    content = [word for block in blocks for word in block[: len(block) - _CHECK_WORDS[version - 1]]]
    stream = [bool(word >> bit & 1) for word in content for bit in range(7, -1, -1)]
    assert _number(stream[:4]) == 0b0100, "the code is not written in bytes"
    counted = 8 if version < 10 else 16
    length, start = _number(stream[4 : 4 + counted]), 4 + counted
    read = (_number(stream[start + 8 * each : start + 8 * each + 8]) for each in range(length))
    return bytes(read).decode()


def _mask(squares: Squares) -> int:
    format_bits = _number([squares[8][x] for x in range(5)]) ^ 0b10101
    assert format_bits >> 3 == 0, "the level of error correction is not M"
    return format_bits & 7


def _words(squares: Squares, mask: int) -> list[int]:
    """The words in the order in which they wind up and down the columns."""
    size, flips = len(squares), _MASKS[mask]
    fixed = _fixed(size, (size - 17) // 4)
    bits: list[bool] = []
    upwards = True
    for right in range(size - 1, 0, -2):
        column = right if right > 6 else right - 1  # the column of the timing is left out
        for y in range(size - 1, -1, -1) if upwards else range(size):
            pair = (x for x in (column, column - 1) if (x, y) not in fixed)
            bits += [squares[y][x] != flips(x, y) for x in pair]
        upwards = not upwards
    return [_number(bits[at : at + 8]) for at in range(0, len(bits) - 7, 8)]


def _fixed(size: int, version: int) -> set[tuple[int, int]]:
    """The squares that are the same in every code of this version."""
    fixed = {(6, each) for each in range(size)} | {(each, 6) for each in range(size)}
    for left, top in ((0, 0), (size - 8, 0), (0, size - 8)):
        across, down = (9 if left == 0 else 8), (9 if top == 0 else 8)
        fixed |= {(left + x, top + y) for x in range(across) for y in range(down)}
    if version > 1:
        number = version // 7 + 2
        step = (version * 8 + number * 3 + 5) // (number * 4 - 4) * 2
        middles = [6, *reversed([size - 7 - each * step for each in range(number - 1)])]
        for x in middles:
            for y in middles:
                if (x, y) not in {(6, 6), (6, size - 7), (size - 7, 6)}:
                    fixed |= {(x + i, y + j) for i in range(-2, 3) for j in range(-2, 3)}
    if version >= 7:
        fixed |= {(size - 11 + i, j) for i in range(3) for j in range(6)}
        fixed |= {(j, size - 11 + i) for i in range(3) for j in range(6)}
    return fixed


def _blocks(words: Sequence[int], version: int) -> list[list[int]]:
    """The blocks that the words are dealt out from in turns: content, and behind it check words."""
    number, check = _BLOCKS[version - 1], _CHECK_WORDS[version - 1]
    short, longer = len(words) // number - check, len(words) % number
    lengths = [short + (each >= number - longer) for each in range(number)]
    blocks: list[list[int]] = [[] for _ in lengths]
    waiting = iter(words)
    for turn in range(max(lengths)):
        for block, length in zip(blocks, lengths, strict=True):
            if turn < length:
                block.append(next(waiting))
    for _ in range(check):
        for block in blocks:
            block.append(next(waiting))
    return blocks


def _number(bits: Sequence[bool]) -> int:
    return int("".join("01"[bit] for bit in bits), 2)
