"""The invoice: its facts, its state, its commands and what it decides."""
