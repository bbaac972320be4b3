"""Laws that hold under generated input."""
