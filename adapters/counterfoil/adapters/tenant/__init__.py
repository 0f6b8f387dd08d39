"""One tenant's invoices and credit notes: the writes of the front door, a room for each subject.

Every method builds one command, has it decided on the streams it concerns, and returns the read
model after it.
"""

from counterfoil.adapters.tenant.credit_notes import CreditNotes
from counterfoil.adapters.tenant.documents import Documents
from counterfoil.adapters.tenant.drafts import Drafts
from counterfoil.adapters.tenant.office import House
from counterfoil.adapters.tenant.payments import Payments

__all__ = ["House", "Tenant"]


class Tenant(Drafts, Documents, Payments, CreditNotes):
    """The invoices and credit notes of one tenant; nothing crosses to another's."""
