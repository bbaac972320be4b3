"""The native policy file: its notation, its faults, its meaning."""
