"""A comparison that is done for each of several teachers, or levels of what varies."""
