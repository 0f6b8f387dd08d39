"""What a company looks like on its documents: typed values that are written out anew.

Nothing of it reaches a style sheet as it was given, so no colour can carry a rule.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints, field_validator

from counterfoil.domain.ports import Asset
from counterfoil.domain.value import ShortText, Text, Value
from counterfoil.projections.render.logo import clean_logo

Colour = Annotated[str, StringConstraints(pattern=r"^#[0-9a-fA-F]{6}$", to_lower=True)]


class Branding(Value):
    """How a seller's documents look. `logo` is given as the bytes of an SVG, PNG or JPEG file;
    where there is none stands `name`, or the seller's own.
    """

    name: Text | None = None
    logo: Asset | None = None
    colour: Colour = "#1f4fd8"
    tagline: ShortText | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            name: str | None = ...,
            logo: bytes | Asset | None = ...,
            colour: str = ...,
            tagline: str | None = ...,
        ) -> None: ...

    @field_validator("logo", mode="before")
    @classmethod
    def _harmless(cls, given: object) -> Asset | None:
        # One that was made elsewhere is cleaned as well: to clean twice changes nothing.
        return None if given is None else clean_logo(getattr(given, "content", given))

    @property
    def digest(self) -> str:
        """Tells another branding from this one."""
        logo = hashlib.sha256(self.logo.content).hexdigest() if self.logo else None
        said = repr((self.name, logo, self.colour, self.tagline))
        return hashlib.sha256(said.encode()).hexdigest()

    def tint(self, strength: float) -> str:
        """So much of the colour, on white paper."""
        parts = (int(self.colour[start : start + 2], 16) for start in (1, 3, 5))
        return "#" + "".join(f"{round(255 - (255 - part) * strength):02x}" for part in parts)
