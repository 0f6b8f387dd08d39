"""What only an event store may raise."""

from __future__ import annotations

from counterfoil.domain.errors import CounterfoilError


class AppendOnly(CounterfoilError):
    """The database refused to change or delete what is stored."""


class SchemaMissing(CounterfoilError):
    """The database has no schema, or an old one: `counterfoil init` makes it."""


class SchemaTooNew(CounterfoilError):
    """The database was made by a newer Counterfoil; use that one, or a newer one still."""
