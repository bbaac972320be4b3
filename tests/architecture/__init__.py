"""The rules of the code base, read from the source, each with a violation it must find."""
