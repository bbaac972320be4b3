"""What the tests of the service share: transports, clients, a raw wire, fake ASGI, counts."""
