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

from counterfoil.domain.party import Address, Customer, Seller

# ISO 13616: up to 34 letters and digits whose remainder by 97 is 1, letters counted from 10.
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_BIC = re.compile(r"[A-Z]{6}[A-Z0-9]{2}([A-Z0-9]{3})?")
_SWISS = ("CH", "LI")
# Institution numbers whose accounts take payments by QR reference only (QR-IBAN).
_QR_INSTITUTIONS = range(30_000, 32_000)
# Dots a square.
SCALE = 6
EPC_MOST = Decimal("999999999.99")


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
        made.save(picture, kind="png", scale=SCALE, border=0 if self.kind == "swiss" else 2)
        return picture.getvalue() if self.kind == "epc" else _with_cross(picture)


def _with_cross(picture: io.BytesIO) -> bytes:
    """The Swiss cross in the middle, 7 of 46 mm, which the code's redundancy makes up for."""
    from PIL import Image, ImageDraw

    with Image.open(picture) as code:
        marked = code.convert("L")
    unit, middle = marked.width / 46, marked.width / 2
    draw = ImageDraw.Draw(marked)
    for shape, ink in (((7, 7), 255), ((6, 6), 0), ((1.2, 3.9), 255), ((3.9, 1.2), 255)):
        x, y = (side * unit / 2 for side in shape)
        draw.rectangle((middle - x, middle - y, middle + x, middle + y), fill=ink)
    written = io.BytesIO()
    marked.convert("1").save(written, "PNG")
    return written.getvalue()


def account(iban: str | None) -> str | None:
    """The IBAN without spaces, if it is one."""
    written = re.sub(r"\s", "", iban or "").upper()
    if not _IBAN.fullmatch(written):
        return None
    digits = "".join(str(int(sign, 36)) for sign in written[4:] + written[:4])
    return written if int(digits) % 97 == 1 else None


def payment_code(
    seller: Seller, customer: Customer, amount: Decimal, currency: str, number: str
) -> PaymentCode | None:
    """The code for paying so much of this invoice, where there can be one."""
    iban = account(seller.iban)
    if iban is None or amount <= 0 or amount > EPC_MOST:
        return None
    if iban.startswith(_SWISS) and currency in {"CHF", "EUR"}:
        return _swiss(iban, seller, customer, amount, currency, number)
    return _epc(iban, seller, amount, number) if currency == "EUR" else None


def _epc(iban: str, seller: Seller, amount: Decimal, number: str) -> PaymentCode:
    """EPC069-12, version 2: the BIC may be missing inside the EEA."""
    bic = re.sub(r"\s", "", seller.bic or "").upper()
    lines = (
        "BCD",
        "002",
        "1",
        "SCT",
        bic if _BIC.fullmatch(bic) else "",
        _line(seller.name, 70),
        iban,
        f"EUR{amount:.2f}",
        "",
        "",
        _line(number, 140),
    )
    return PaymentCode("epc", "\n".join(lines))


def _swiss(  # noqa: PLR0917
    iban: str, seller: Seller, customer: Customer, amount: Decimal, currency: str, number: str
) -> PaymentCode | None:
    """Swiss Implementation Guidelines QR-bill 2.3: structured addresses, no reference."""
    creditor = _party(seller.name, seller.address)
    if creditor is None or int(iban[4:9]) in _QR_INSTITUTIONS:
        return None
    lines = (
        "SPC",
        "0200",
        "1",
        iban,
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
    return PaymentCode("swiss", "\n".join(lines))


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
