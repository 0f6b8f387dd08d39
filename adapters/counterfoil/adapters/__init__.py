"""The only layer that knows the outside world: databases, engines, vendors, the terminal."""
