"""Evidence packs: a zip with facts, proofs and prints that an outsider verifies without us."""

from counterfoil.adapters.audit.evidence.auditor import Auditor
from counterfoil.adapters.audit.evidence.export import Exported

__all__ = ["Auditor", "Exported"]
