"""Real Redis and Valkey servers as the tests need them: processes on free loopback ports.

    binaries.py   where the servers' programs are
    daemon.py     one process: started, paused, killed, gone for sure
    server.py     single(): one server
    sentinel.py   sentinel(): a primary, its replicas, and three Sentinels that watch them
    cluster.py    cluster(): hash slots on several primaries, and how they move
    proxy.py      Proxy: a TCP proxy whose faults are switched while it runs
    tls.py        tls_front(): TLS in front of a server whose program has none
    acl.py        users who may do little
    fixtures.py   all of it as fixtures; list it in `pytest_plugins` or import from it

What starts a server is an ordinary context manager, for a fixture or for one test; what lives on
the test's event loop (Proxy, tls_front) is an asynchronous one. Nothing here imports ratelimitd's
stores: the servers are controlled by redis-py, which shares no fault with what is tested.
"""
