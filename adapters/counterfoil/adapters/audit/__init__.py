"""Is the log what was written? Proved by chains of hashes, a Merkle tree, and checkpoints."""

from counterfoil.adapters.audit.checkpoint import Checkpoint
from counterfoil.adapters.audit.proofs import Consistency, Inclusion, read_proof
from counterfoil.adapters.audit.report import Broken, Report
from counterfoil.adapters.audit.verify import Audit

__all__ = [
    "Audit",
    "Broken",
    "Checkpoint",
    "Consistency",
    "Inclusion",
    "Report",
    "read_proof",
]
