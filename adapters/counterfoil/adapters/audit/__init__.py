"""Is the log what was written? Proved by chains of hashes, a Merkle tree, and checkpoints."""

from counterfoil.adapters.audit.checkpoint import Checkpoint
from counterfoil.adapters.audit.verify import Audit, Broken, Report

__all__ = ["Audit", "Broken", "Checkpoint", "Report"]
