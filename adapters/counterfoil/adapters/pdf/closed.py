"""What a print may reach: the images of its own sheet, and nothing else in the world."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from weasyprint.urls import FatalURLFetchingError, URLFetcher, URLFetcherResponse

from counterfoil.domain.ports import Asset

PIXELS_MAX = 4_000_000
_INLINE = "data:image/png;base64,"


class Refused(FatalURLFetchingError):
    """The sheet refers to something outside itself."""


class ClosedFetcher(URLFetcher):
    """Gives a sheet its own images. There is no opener behind it, no proxy and no file."""

    def __init__(self, assets: Mapping[str, Asset], *, shown: bool = True) -> None:
        # Not super().__init__(), which would make an opener for every scheme there is.
        self._fail_on_errors = True
        self._assets = assets
        self._shown = shown
        self.refused = False

    def fetch(self, url: str, headers: object = None) -> URLFetcherResponse:
        """The bytes of `asset:NAME`, or of a PNG that the address itself holds."""
        asset = self._assets.get(url) or _inline(url)
        if asset is None or (self._shown and not _small(asset)):
            # Told here as well: inside an SVG the engine would swallow the error.
            self.refused = True
            raise Refused(f"a sheet may refer to its own images only, not to {_scheme(url)}")
        return URLFetcherResponse(url, asset.content, {"Content-Type": asset.media_type})

    def open(self, url: Any, data: object = None, timeout: object = None) -> URLFetcherResponse:
        """The same, as urllib would ask for it."""
        return self.fetch(getattr(url, "full_url", url))

    __call__ = fetch


def close_profiles() -> None:
    """Have WeasyPrint close the colour profile that every archival print opens."""
    import weasyprint.pdf

    stock = weasyprint.pdf.ColorProfile
    if hasattr(stock, "closes"):
        return

    class ClosingProfile(stock):  # type: ignore[misc, valid-type]  # known when it runs
        closes = True

        def __init__(self, file_object: Any, *said: object) -> None:
            with file_object:
                super().__init__(file_object, *said)

    weasyprint.pdf.ColorProfile = ClosingProfile


def _inline(url: str) -> Asset | None:
    if not url.startswith(_INLINE):
        return None
    try:
        content = base64.b64decode(url.removeprefix(_INLINE), validate=True)
    except (binascii.Error, ValueError):
        return None
    return Asset(url, "image/png", content)


def _small(asset: Asset) -> bool:
    """Whether a picture may be decoded: a few bytes can claim any number of pixels."""
    if asset.media_type != "image/png":
        return True
    from PIL import Image

    try:
        with Image.open(BytesIO(asset.content), formats=("PNG",)) as picture:
            return picture.width * picture.height <= PIXELS_MAX
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return False


def _scheme(url: str) -> str:
    scheme, colon, _ = url[:40].partition(":")
    return f"{scheme}:" if colon and scheme.isascii() and scheme.isalnum() else "a relative address"
