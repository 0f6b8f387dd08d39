"""The append-only store, on the recorders of the `eventsourcing` library."""
