"""The two parties of an invoice, as they are named on it."""

from __future__ import annotations

from typing import Annotated

from pydantic import StringConstraints

from counterfoil.domain.value import EMAIL, Id, Text, Value

Email = Annotated[str, StringConstraints(max_length=254, pattern=EMAIL)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]


class Address(Value):
    """Where a party is; Stripe's field names, the country by ISO 3166-1 alpha-2."""

    line1: Text | None = None
    line2: Text | None = None
    postal_code: Text | None = None
    city: Text | None = None
    state: Text | None = None
    country: Country | None = None


class Customer(Value):
    """Who owes. Locale and time zone are wishes for the document; a bad one falls back there."""

    id: Id
    name: Text
    address: Address | None = None
    tax_id: Text | None = None
    email: Email | None = None
    phone: Text | None = None
    preferred_locale: Text | None = None
    preferred_timezone: Text | None = None


class Seller(Value):
    """Who is owed. Each seller of a tenant has number series of its own, told apart by `id`."""

    id: Id = "default"
    name: Text
    address: Address | None = None
    tax_id: Text | None = None
    registration: Text | None = None
    email: Email | None = None
    phone: Text | None = None
    website: Text | None = None
    bank_name: Text | None = None
    iban: Text | None = None
    bic: Text | None = None
