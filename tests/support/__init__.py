"""What tests of several levels share: builders of values, stores to be tested, a bench."""
