"""Measurements, each printed with the machine and the commit; none of them is a test."""
