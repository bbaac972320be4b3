"""The command line, without processes: parsing, messages, exit codes, and what is printed."""
