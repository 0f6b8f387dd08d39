#!/usr/bin/env python3
"""Make the fonts that documents are printed with, from those of Debian's fonts-noto-core.

usage: python3 infra/dev.py run python infra/fonts.py FOLDER

FOLDER is where the package keeps them, /usr/share/fonts/truetype/noto. The result lies in the
repository, since bytes of a print depend on it; this says how it came there, and makes it anew
from a newer release. Hints go, for nobody prints at 12 pixels; layout rules stay.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools import subset

OUT = Path(__file__).resolve().parents[1] / "projections/counterfoil/projections/render/fonts"

EUROPE = (
    "U+0020-007E,U+00A0-024F,U+0259,U+02B9-02DD,U+0300-0315,U+031B,U+0323-0331,U+0370-03FF,"
    "U+0400-052F,U+1E00-1EFF,U+1F00-1FFF,U+2000-200F,U+2010-2027,U+202F-205F,U+2070-209C,"
    "U+20A0-20BF,U+2100-214F,U+2150-215F,U+2190-2193,U+2212,U+2215,U+221E,U+2248,U+2260,"
    "U+2264-2265,U+25CC,U+FB00-FB06,U+FFFD"
)
# The spaces and points between words of a script are looked for in its own font.
BETWEEN = "U+0020-0040,U+005B-0060,U+007B-007E,U+00A0,U+00AB,U+00BB,U+2009-2027,U+202F"
ARABIC = f"{BETWEEN},U+0600-06FF,U+0750-077F,U+25CC,U+FDFC"
HEBREW = f"{BETWEEN},U+0590-05FF,U+20AA,U+25CC,U+FB1D-FB4F"

FONTS = {"NotoSans": EUROPE, "NotoSansArabic": ARABIC, "NotoSansHebrew": HEBREW}


def main(folder: Path) -> None:
    """Cut every font down to what the documents need, in two weights."""
    OUT.mkdir(parents=True, exist_ok=True)
    for family, wanted in FONTS.items():
        for weight in ("Regular", "Bold"):
            name = f"{family}-{weight}.ttf"
            options = subset.Options(hinting=False, notdef_outline=True, glyph_names=False)
            # What a print shows must not depend on the day on which this ran.
            options.recalc_timestamp = False
            options.name_IDs = [*options.name_IDs, 13, 14]  # the licence goes with the font
            font = subset.load_font(str(folder / name), options)
            chosen = subset.Subsetter(options)
            chosen.populate(unicodes=subset.parse_unicodes(wanted))
            chosen.subset(font)
            subset.save_font(font, str(OUT / name), options)
            print(f"{name} {(OUT / name).stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(str(__doc__))
    main(Path(sys.argv[1]))
