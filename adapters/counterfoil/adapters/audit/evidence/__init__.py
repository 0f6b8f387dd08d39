"""Evidence packs: a zip with facts, proofs and prints that an outsider verifies without us."""
