"""Reservations: an estimate charged now, and the real amount put in its place later, once."""
