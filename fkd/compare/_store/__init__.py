"""A run that is kept: what is written of it when, whose it is, and how it goes on."""
