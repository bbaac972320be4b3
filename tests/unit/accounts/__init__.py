"""The pure parts of the stores."""
