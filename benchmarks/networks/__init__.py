"""How fast any network trains by fkd, beside a plain loop of the same work."""
