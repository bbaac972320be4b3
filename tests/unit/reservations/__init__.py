"""Reservations: the ticket, and who keeps the time."""
