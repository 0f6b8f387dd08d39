"""Which signs the fonts can show. One that none of them has is printed as an empty box, which
somebody should hear of before a customer sees it.
"""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from counterfoil.domain.errors import RenderFailed
from counterfoil.domain.ports import Sheet

_LOG = logging.getLogger("counterfoil.documents")
MORE = "install more fonts and name them in COUNTERFOIL_FONTS"
# Nothing is drawn for these: controls, formats, separators.
_UNSEEN = {"Cc", "Cf", "Zl", "Zp", "Zs", "Mn"}


class Coverage:
    """What a set of fonts can show; the fonts are read when the first unusual sign is met."""

    def __init__(self, fonts: Sequence[Path]) -> None:
        self._fonts = fonts

    def hold(self, sheet: Sheet) -> None:
        """Say in the log how many signs no font has; not which, for they are the document's own.
        An archival print must be able to show all (ISO 19005-3, 6.2.11.8), so it is refused.
        """
        text = sheet.html
        if text.isascii():
            return
        missing = [
            sign for sign in set(text) - self._signs if unicodedata.category(sign) not in _UNSEEN
        ]
        if not missing:
            return
        names = {unicodedata.name(sign, "UNKNOWN").split()[0] for sign in missing}
        scripts = ", ".join(sorted(names)[:3])
        if sheet.archival:
            raise RenderFailed(
                f"no font has {len(missing)} signs of the document ({scripts}); {MORE}"
            )
        _LOG.warning("no font has %d signs of a document (%s); %s", len(missing), scripts, MORE)

    @cached_property
    def _signs(self) -> frozenset[str]:
        from fontTools.ttLib import TTCollection, TTFont

        signs: set[str] = set()
        for path in self._fonts:
            faces = TTCollection(path) if path.suffix.lower() == ".ttc" else [TTFont(path)]
            for face in faces:
                signs.update(map(chr, face.getBestCmap()))
        return frozenset(signs)
