"""Where counts are kept: the port, and the stores that keep its promises."""
