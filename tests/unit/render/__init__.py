"""A decision as customers see it: promised headers and body, and the IETF's fields."""
