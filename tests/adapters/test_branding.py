"""Is a branding in a file the one that it says, and is whatever is wrong with it named?"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from counterfoil.adapters.branding_file import read_branding
from counterfoil.billing import Branding
from counterfoil.domain.errors import Malformed

if TYPE_CHECKING:
    from pathlib import Path

SVG = b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path d="M0 0h9v9z"/></svg>'


def picture(kind: str) -> bytes:
    """A picture with a word in it that is nobody's business."""
    written = io.BytesIO()
    Image.new("RGB", (8, 4), "#0b5fff").save(written, kind, comment=b"taken at home")
    return written.getvalue()


def written(folder: Path, said: str | bytes) -> Path:
    path = folder / "branding.toml"
    path.write_bytes(said.encode() if isinstance(said, str) else said)
    return path


def test_a_file_says_what_a_branding_is_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "looks").mkdir()
    (tmp_path / "looks" / "logo.svg").write_bytes(SVG)
    monkeypatch.chdir(tmp_path)
    path = written(
        tmp_path / "looks",
        'name = "Nørdwind"  # ours\ncolour = "#0B5FFF"\ntagline = "Für alle"\nlogo = "logo.svg"\n',
    )
    branding = read_branding(path.relative_to(tmp_path))
    assert (branding.name, branding.colour, branding.tagline) == ("Nørdwind", "#0b5fff", "Für alle")
    assert branding.logo is not None
    assert branding.logo.media_type == "image/svg+xml"
    same = Branding(name="Nørdwind", colour="#0b5fff", tagline="Für alle", logo=SVG)
    assert branding == same
    assert branding.digest == same.digest


def test_an_empty_file_is_the_usual_branding(tmp_path: Path) -> None:
    assert read_branding(written(tmp_path, "")) == Branding()
    assert read_branding(written(tmp_path, "# nothing yet\n")).digest == Branding().digest


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_picture_is_taken_for_what_it_is_and_not_for_its_name(tmp_path: Path, kind: str) -> None:
    (tmp_path / "logo").write_bytes(picture(kind))
    logo = read_branding(written(tmp_path, f'logo = "{tmp_path}/logo"')).logo
    assert logo is not None
    assert logo.media_type == "image/png"
    assert b"taken at home" not in logo.content


def test_every_part_of_a_branding_is_in_its_digest(tmp_path: Path) -> None:
    (tmp_path / "one.svg").write_bytes(SVG)
    (tmp_path / "two.svg").write_bytes(SVG.replace(b"9z", b"8z"))
    said = [
        *("", 'name = "A"', 'tagline = "A"', 'name = "B"', 'colour = "#000000"'),
        *('logo = "one.svg"', 'logo = "two.svg"', 'name = "A"\ntagline = "A"'),
    ]
    digests = {read_branding(written(tmp_path, one)).digest for one in said}
    assert len(digests) == len(said)


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ("name = ", "branding: .*is no TOML"),
        ("name = 'A'\nname = 'B'", "branding: .*is no TOML"),
        (b'name = "\xff"', "branding: .*is no TOML"),
        ('colour = "red"', "colour"),
        ('colour = "#0b5fff; } body { display: none"', "colour"),
        ('colour = "#0b5fff\\n"', "colour"),
        ("colour = 5", "colour"),
        ("name = 5", "name"),
        ('name = ""', "name"),
        ('[name]\nfirst = "A"', "name"),
        ('color = "#0b5fff"', "color"),
        ("self = 1", "self"),
        ('font = "Comic Sans"', "font"),
        ('logo = "none.svg"', "logo: none.svg cannot be read: No such file"),
        ('logo = "."', "logo: . cannot be read: Is a directory"),
        ("logo = 5", "logo"),
        ('logo = ["logo.svg"]', "logo"),
        ('logo = "branding.toml"', "logo"),
        pytest.param(
            'logo = "a\\u0000b"',
            "logo",
        ),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, said: str | bytes, problem: str) -> None:
    with pytest.raises(Malformed, match=problem):
        read_branding(written(tmp_path, said))


@pytest.mark.parametrize(
    "hostile",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><script>1</script></svg>',
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><image href="a.png"/></svg>',
        b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]><svg><title>&a;</title></svg>',
        b"%PDF-1.7",
        b"",
        b"\x89PNG\r\n\x1a\n",
        b" " * (1024 * 1024 + 1),
    ],
)
def test_a_logo_in_a_file_is_held_to_the_same_rules(tmp_path: Path, hostile: bytes) -> None:
    (tmp_path / "logo").write_bytes(hostile)
    with pytest.raises(Malformed, match="logo"):
        read_branding(written(tmp_path, 'logo = "logo"'))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(Malformed, match=f"branding: {path} cannot be read"):
            read_branding(path)
