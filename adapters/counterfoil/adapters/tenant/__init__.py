"""One tenant's invoices and credit notes: the writes of the front door, a room for each subject.

Every method builds one command, has it decided on the streams it concerns, and returns the read
model after it. What is read stands under the name of its read model: `acme.invoices.list()`.
"""

from counterfoil.adapters.tenant.bulk import Bulk
from counterfoil.adapters.tenant.collecting import Collecting
from counterfoil.adapters.tenant.credit_notes import CreditNotes
from counterfoil.adapters.tenant.drafts import Drafts
from counterfoil.adapters.tenant.hearing import Hearing
from counterfoil.adapters.tenant.office import House
from counterfoil.adapters.tenant.past import Past
from counterfoil.projections.ageing import Ageing
from counterfoil.projections.credit_notes import CreditNotes as CreditNotesRead
from counterfoil.projections.customers import Customers
from counterfoil.projections.invoices import Invoices
from counterfoil.projections.journal import Journal
from counterfoil.projections.payments import Payments as PaymentsRead
from counterfoil.projections.series import Series

__all__ = ["House", "Tenant"]


class Tenant(Drafts, Collecting, Hearing, CreditNotes, Bulk, Past):
    """The invoices and credit notes of one tenant; nothing crosses to another's."""

    def __init__(self, house: House, name: str) -> None:
        super().__init__(house, name)
        store, today = house.store, self._today
        self.invoices = Invoices(store, name, today)
        self.payments = PaymentsRead(store, name)
        self.credit_notes = CreditNotesRead(store, name)
        self.series = Series(store, name)
        self.customers = Customers(store, name, today)
        self.ageing = Ageing(store, name, today, house.timezone)
        self.journal = Journal(store, name)
