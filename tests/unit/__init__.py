"""One module at a time: no I/O, no clock but the test's."""
