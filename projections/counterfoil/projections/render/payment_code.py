"""The code that a payer's banking app scans: EPC for euro transfers, Swiss QR for Swiss accounts.

Both say who gets how much and what for. Where the bank details do not allow one, there is none: a
code that an app refuses, or misreads, is worse.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import segno
from PIL import Image, ImageDraw
from stdnum import iban

from counterfoil.domain.party import Address, Customer, Seller

_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?")
_SWISS = ("CH", "LI")
# Institution numbers whose accounts take payments by QR reference only (QR-IBAN).
_QR_INSTITUTIONS = range(30_000, 32_000)
# What a Swiss code may hold: Latin up to Extended-A, four letters of Romanian, and the euro sign.
_SWISS_TEXT = re.compile("[ -~\u00a0-\u017f\u0218-\u021b\u20ac\n]*")
# Countries of the EEA, where a transfer needs no BIC, and the others that SEPA reaches.
_EEA = {
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
    "IS", "IT", "LI", "LT", "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
}  # fmt: skip
_SEPA = _EEA | {"AD", "AL", "CH", "GB", "MC", "MD", "ME", "MK", "RS", "SM", "VA"}
# Dots a square.
SCALE = 4
EPC_MOST = Decimal("999999999.99")
EPC_BYTES_MAX = 331


@dataclass(frozen=True, slots=True)
class PaymentCode:
    """A code as a picture of black and white squares."""

    kind: Literal["epc", "swiss"]
    content: str

    def png(self) -> bytes:
        """Black on white with a rim of its own: scaled up without smoothing it stays sharp."""
        made = segno.make(
            self.content, error="m", mode="byte", encoding="utf-8", micro=False, boost_error=False
        )
        picture = io.BytesIO()
        made.save(picture, kind="png", border=0 if self.kind == "swiss" else 2)
        # As shades of grey: what has one bit a dot is made colourful, and twice, by the engine.
        with Image.open(picture) as squares:
            side = squares.width * SCALE
            code = squares.convert("L").resize((side, side), Image.Resampling.NEAREST)
        if self.kind == "swiss":
            _draw_cross(code)
        written = io.BytesIO()
        code.save(written, "PNG")
        return written.getvalue()


def _draw_cross(code: Image.Image) -> None:
    """The Swiss cross in the middle, 7 of 46 mm, which the code's redundancy makes up for."""
    unit, middle = code.width / 46, code.width / 2
    draw = ImageDraw.Draw(code)
    for shape, ink in (((7, 7), 255), ((6, 6), 0), ((1.2, 3.9), 255), ((3.9, 1.2), 255)):
        x, y = (side * unit / 2 for side in shape)
        draw.rectangle((middle - x, middle - y, middle + x, middle + y), fill=ink)


def account(given: str | None) -> str | None:
    """The IBAN without spaces, if it is one: of its country's form, with its check digits."""
    written = iban.compact(given or "")
    return str(written) if written.isascii() and iban.is_valid(written) else None


def payment_code(
    seller: Seller, customer: Customer, amount: Decimal, currency: str, number: str
) -> PaymentCode | None:
    """The code for paying so much of this invoice, where there can be one."""
    to = account(seller.iban)
    if to is None or amount <= 0 or amount > EPC_MOST:
        return None
    if to.startswith(_SWISS) and currency in {"CHF", "EUR"}:
        return _swiss(to, seller, customer, amount, currency, number)
    return _epc(to, seller, amount, number) if currency == "EUR" else None


def _epc(to: str, seller: Seller, amount: Decimal, number: str) -> PaymentCode | None:
    """EPC069-12, version 2: the BIC may be missing inside the EEA."""
    bic = re.sub(r"\s", "", seller.bic or "").upper()
    if to[:2] not in _SEPA or (to[:2] not in _EEA and not _BIC.fullmatch(bic)):
        return None
    lines = (
        "BCD",
        "002",
        "1",
        "SCT",
        bic if _BIC.fullmatch(bic) else "",
        _line(seller.name, 70),
        to,
        f"EUR{amount:.2f}",
        "",
        "",
        _line(number, 140),
    )
    content = "\n".join(lines)
    return PaymentCode("epc", content) if len(content.encode()) <= EPC_BYTES_MAX else None


def _swiss(  # noqa: PLR0917
    to: str, seller: Seller, customer: Customer, amount: Decimal, currency: str, number: str
) -> PaymentCode | None:
    """Swiss Implementation Guidelines QR-bill 2.3: structured addresses, no reference."""
    creditor = _party(seller.name, seller.address)
    if creditor is None or int(to[4:9]) in _QR_INSTITUTIONS:
        return None
    lines = (
        "SPC",
        "0200",
        "1",
        to,
        *creditor,
        *("",) * 7,  # the ultimate creditor, for future use
        f"{amount:.2f}",
        currency,
        *(_party(customer.name, customer.address) or ("",) * 7),
        "NON",
        "",
        _line(number, 140),
        "EPD",
    )
    content = "\n".join(lines)
    return PaymentCode("swiss", content) if _SWISS_TEXT.fullmatch(content) else None


def _party(name: str, address: Address | None) -> tuple[str, ...] | None:
    if address is None or not (address.postal_code and address.city and address.country):
        return None
    return (
        "S",
        _line(name, 70),
        _line(address.line1 or "", 70),
        "",
        _line(address.postal_code, 16),
        _line(address.city, 35),
        address.country,
    )


def _line(text: str, most: int) -> str:
    return " ".join(text.split())[:most]
