"""What stands around the limiter when a person or a test tries it: a real Envoy, a stub API.

Nothing here serves production traffic, and no module outside `cli` and the tests imports it.
"""
