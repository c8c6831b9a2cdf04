"""A comparison as it runs: in which rounds, how it stands, and what it has measured so far."""
