"""A branding in a file, for the command line and for services that are set up by their environment.

name = "Northwind"
colour = "#0b5fff"
tagline = "Design for people"
logo = "logo.svg"              # beside this file
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from counterfoil.domain.errors import Malformed
from counterfoil.projections.render.branding import Branding


def read_branding(path: Path) -> Branding:
    """The branding that a TOML file says."""
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Malformed("branding", f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Malformed("branding", f"{path} is no TOML: {error}") from error
    logo = said.get("logo")
    if isinstance(logo, str):
        try:
            said["logo"] = (path.parent / logo).read_bytes()
        except OSError as error:
            raise Malformed("logo", f"{logo} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise Malformed("logo", "names no file") from error
    return Branding(**said)
