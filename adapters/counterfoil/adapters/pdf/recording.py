"""An engine for the tests of services: fast, needs no library, and remembers what it was given."""

from __future__ import annotations

import hashlib

from counterfoil.domain.ports import Sheet


class RecordingEngine:
    """Gives a blank page, another for every sheet, and keeps the sheets in `sheets`."""

    fingerprint = "recording 1"

    def __init__(self) -> None:
        self.sheets: list[Sheet] = []

    def render(self, sheet: Sheet) -> bytes:
        """Remember the sheet; the page carries its digest as a comment."""
        self.sheets.append(sheet)
        digest = hashlib.sha256(repr(sheet).encode()).hexdigest().encode()
        return _page(b"% " + digest)

    def close(self) -> None:
        """Nothing to give back."""


def _page(comment: bytes) -> bytes:
    """The least that is a PDF."""
    objects = (
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Resources<<>>>>",
    )
    written = b"%PDF-1.7\n" + comment + b"\n"
    places = []
    for number, said in enumerate(objects, start=1):
        places.append(len(written))
        written += b"%d 0 obj%sendobj\n" % (number, said)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = (
        b"xref\n0 4\n0000000000 65535 f \n%strailer<</Size 4/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n"
    )
    return written + end % (table, len(written))
