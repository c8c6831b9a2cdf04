"""The law that splitting changes nothing, on real processes: every method on every small mesh."""
