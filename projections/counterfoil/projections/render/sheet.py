"""A read model → a sheet that any engine can print, or that a browser shows as it is."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from importlib.resources import files
from typing import Literal, TypeVar

import jinja2
from babel import Locale

from counterfoil.domain.party import Customer, Seller
from counterfoil.domain.ports import Asset, Sheet
from counterfoil.projections.credit_note import CreditNote
from counterfoil.projections.invoice import Invoice
from counterfoil.projections.render.branding import Branding
from counterfoil.projections.render.context import Context, credit_note_context, invoice_context
from counterfoil.projections.render.language import Language, labels, language, zone
from counterfoil.projections.render.options import Print
from counterfoil.projections.render.payment_code import PaymentCode
from counterfoil.projections.render.pen import Reader
from counterfoil.projections.render.running import running
from counterfoil.projections.render.style import base, style

_ENGLISH = Language(Locale("en"), labels("en"))
_UTC: tzinfo = UTC
_SAYABLE = re.compile(r"[A-Za-z0-9_+/-]{1,40}")

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Fallback:
    """A wish that could not be met. What cannot be a name stays out: it may be anything."""

    of: Literal["locale", "timezone"]
    wish: str
    instead: str


def reader(options: Print, customer: Customer) -> tuple[Reader, tuple[Fallback, ...]]:
    """In whose language and time to speak: the option's, else the customer's, else English, UTC."""
    locales = (options.locale, customer.preferred_locale)
    spoken, missed = _first(locales, language, _ENGLISH)
    zones = (options.timezone, customer.preferred_timezone)
    there, nowhere = _first(zones, zone, _UTC)
    return Reader(spoken, there), (
        *(Fallback("locale", wish, spoken.tag) for wish in missed),
        *(Fallback("timezone", wish, str(there)) for wish in nowhere),
    )


def _first(
    wishes: Sequence[str | None], find: Callable[[str], Found | None], usual: Found
) -> tuple[Found, Sequence[str]]:
    missed: list[str] = []
    for wish in wishes:
        if wish is None or not wish.strip():
            continue
        found = find(wish)
        if found is not None:
            return found, missed
        missed.append(wish if _SAYABLE.fullmatch(wish) else "(not a name)")
    return usual, missed


def invoice_sheet(
    invoice: Invoice, seller: Seller | None, branding: Branding, options: Print, to: Reader
) -> Sheet:
    """An invoice, or a draft; `seller` is who would issue a draft that names nobody."""
    issuer = invoice.seller or seller
    context, code = invoice_context(invoice, issuer, branding, to)
    written_at = invoice.finalized_at or invoice.created
    return _sheet(context, code, branding, options, to, written_at)


def credit_note_sheet(
    note: CreditNote, invoice: Invoice, branding: Branding, options: Print, to: Reader
) -> Sheet:
    """A credit note; `invoice` is the one that it corrects."""
    context = credit_note_context(note, invoice, branding, to)
    return _sheet(context, None, branding, options, to, note.created)


def as_page(sheet: Sheet) -> str:
    """The sheet as one HTML file, for a screen."""
    html = sheet.html
    for image in sheet.images:
        data = base64.b64encode(image.content).decode()
        html = html.replace(f'"asset:{image.name}"', f'"data:{image.media_type};base64,{data}"')
    styles = "".join(f"<style>{style}</style>" for style in sheet.styles)
    head = '<meta charset="utf-8"/>'
    return "<!DOCTYPE html>\n" + html.replace("<head>", f"<head>{head}{styles}", 1)


@lru_cache(maxsize=1)
def template_digest() -> str:
    """Tells another template, style or catalogue from these."""
    ours = files(__package__)
    parts = [
        entry.read_bytes()
        for folder in ("templates", "labels")
        for entry in sorted(ours.joinpath(folder).iterdir(), key=lambda found: found.name)
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _sheet(  # noqa: PLR0917
    context: Context,
    code: PaymentCode | None,
    branding: Branding,
    options: Print,
    to: Reader,
    written_at: datetime,
) -> Sheet:
    html = _template().render(
        context,
        header=running("header_html", options.header_html) if options.header_html else "",
        footer=running("footer_html", options.footer_html) if options.footer_html else "",
        code_kind=code.kind if code else "",
        written_at=written_at.astimezone(UTC).isoformat(timespec="seconds"),
    )
    images = [branding.logo] if branding.logo else []
    if code is not None:
        images.append(Asset("code", "image/png", code.png()))
    return Sheet(
        html=html,
        styles=(base(), style(branding, to.language, options)),
        images=tuple(images),
        attachments=options.attachments,
        archival=options.archival,
        written_at=written_at,
    )


@lru_cache(maxsize=1)
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        loader=jinja2.PackageLoader(str(__package__), "templates"),
    )
    return environment.get_template("document.html")
