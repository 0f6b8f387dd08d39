"""The libraries of the system that WeasyPrint stands on, and the fonts that it may see.

Both are part of what the bytes of a print depend on, so both are named in the fingerprint.
"""

from __future__ import annotations

import ctypes
import hashlib
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from counterfoil.domain.errors import EngineUnavailable, Malformed

# Which Debian package holds what; the names are those of Linux, macOS and Windows.
_PANGO = ("libpango-1.0.so.0", "libpango-1.0.dylib", "libpango-1.0-0.dll")
_PANGOFT2 = ("libpangoft2-1.0.so.0", "libpangoft2-1.0.dylib", "libpangoft2-1.0-0.dll")
_SUBSET = ("libharfbuzz-subset.so.0", "libharfbuzz-subset.dylib", "libharfbuzz-subset-0.dll")
_HARFBUZZ = ("libharfbuzz.so.0", "libharfbuzz.dylib", "libharfbuzz-0.dll")
_FONTCONFIG = ("libfontconfig.so.1", "libfontconfig.dylib", "libfontconfig-1.dll")
_GOBJECT = ("libgobject-2.0.so.0", "libgobject-2.0.dylib", "libgobject-2.0-0.dll")
_PACKAGES = {
    _PANGO: "libpango-1.0-0",
    _PANGOFT2: "libpangoft2-1.0-0",
    _FONTCONFIG: "libfontconfig1",
    _HARFBUZZ: "libharfbuzz0b",
    # Without it a print takes three times as long, and other bytes come of it.
    _SUBSET: "libharfbuzz-subset0",
}
_FONT_FILES = (".ttf", ".otf", ".ttc")


def require_libraries() -> None:
    """Raise `EngineUnavailable`, naming what to install, where something is missing."""
    missing = [package for names, package in _PACKAGES.items() if _opened(names) is None]
    if missing:
        raise EngineUnavailable(
            f"printing needs {', '.join(missing)}; on Debian: "
            f"apt-get install -y --no-install-recommends {' '.join(missing)}"
        )
    try:
        import weasyprint  # noqa: F401  (whether it can be imported is what is asked)
    except ImportError:
        raise EngineUnavailable(
            "printing needs the extra for PDF: pip install 'counterfoil[pdf]'"
        ) from None
    except OSError as error:
        raise EngineUnavailable(f"printing needs a library that is missing: {error}") from error


def _opened(names: Sequence[str]) -> ctypes.CDLL | None:
    for name in names:
        with suppress(OSError):
            return ctypes.CDLL(name)
    return None


def font_files(more: Sequence[Path]) -> tuple[Path, ...]:
    """The bundled fonts, and those of folders or files that were named besides."""
    bundled = Path(str(files("counterfoil.projections.render"))) / "fonts"
    found = []
    for place in (bundled, *more):
        if not place.exists():
            raise Malformed("fonts", f"there is no {place}")
        inside = sorted(place.rglob("*")) if place.is_dir() else [place]
        found += [path for path in inside if path.suffix.lower() in _FONT_FILES]
    return tuple(found)


def font_configuration(fonts: Sequence[Path]) -> Any:
    """A configuration that sees these fonts and no others, wherever it runs."""
    from weasyprint.text import ffi as weasy
    from weasyprint.text.fonts import FontConfiguration

    create = _required(_FONTCONFIG).FcConfigCreate
    create.restype = ctypes.c_void_p

    class Bundled(FontConfiguration):
        def __init__(self) -> None:
            self._folder = None
            self.strut_layouts: dict[object, object] = {}
            self.font_features: dict[object, object] = {}
            self.address = create()
            self._config = weasy.ffi.cast("FcConfig *", self.address)
            for path in fonts:
                name = str(path).encode(sys.getfilesystemencoding())
                if not weasy.fontconfig.FcConfigAppFontAddFile(self._config, name):
                    raise EngineUnavailable(f"the font {path.name} cannot be read")
            self.font_map = weasy.ffi.gc(
                weasy.pangoft2.pango_ft2_font_map_new(), weasy.gobject.g_object_unref
            )
            weasy.pangoft2.pango_fc_font_map_set_config(
                weasy.ffi.cast("PangoFcFontMap *", self.font_map), self._config
            )
            # The map keeps it alive from here on.
            weasy.fontconfig.FcConfigDestroy(self._config)

    return Bundled()


@contextmanager
def only_these_fonts(configuration: Any) -> Iterator[None]:
    """Let fontconfig go by this configuration alone: Pango asks the process's own for rules, which
    the machine's owner may have set, and those change which font is taken.
    """
    library = _required(_FONTCONFIG)
    library.FcConfigReference.restype = ctypes.c_void_p
    before = ctypes.c_void_p(library.FcConfigReference(None))
    library.FcConfigSetCurrent(ctypes.c_void_p(configuration.address))
    try:
        yield
    finally:
        library.FcConfigSetCurrent(before)
        library.FcConfigDestroy(before)


def hold(address: int) -> None:
    """Keep an object of GLib until it is let go once more."""
    _required(_GOBJECT).g_object_ref(ctypes.c_void_p(address))


def fingerprint(fonts: Sequence[Path]) -> str:
    """All that a print depends on besides its sheet, in words."""
    digest = hashlib.sha256()
    for path in fonts:
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return (
        f"weasyprint {version('weasyprint')}, pydyf {version('pydyf')}, "
        f"pango {_pango()}, harfbuzz {_harfbuzz()}, "
        f"fontconfig {_required(_FONTCONFIG).FcGetVersion()}, zlib {zlib.ZLIB_RUNTIME_VERSION}, "
        f"fonts {digest.hexdigest()[:16]}"
    )


def _pango() -> str:
    number = _required(_PANGO).pango_version()
    return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"


def _harfbuzz() -> str:
    ask = _required(_HARFBUZZ).hb_version_string
    ask.restype = ctypes.c_char_p
    said: bytes = ask()
    return said.decode()


def _required(names: Sequence[str]) -> ctypes.CDLL:
    opened = _opened(names)
    if opened is None:
        raise EngineUnavailable(f"printing needs {names[0]}")
    return opened
