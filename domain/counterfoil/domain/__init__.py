"""The rules of invoicing, pure: values, facts, and what is decided from them."""

from counterfoil.domain.crediting import CreditLine
from counterfoil.domain.envelope import Actor
from counterfoil.domain.errors import CounterfoilError, Reason
from counterfoil.domain.line import Discount, NewLine
from counterfoil.domain.money import Money
from counterfoil.domain.numbering import Numbering
from counterfoil.domain.party import Address, Customer, Seller
from counterfoil.domain.tax import Tax, TaxCategory, TaxRounding

__all__ = [
    "Actor",
    "Address",
    "CounterfoilError",
    "CreditLine",
    "Customer",
    "Discount",
    "Money",
    "NewLine",
    "Numbering",
    "Reason",
    "Seller",
    "Tax",
    "TaxCategory",
    "TaxRounding",
]
