"""The product with every decision in a call of its own: what batches save.

Run as `python -m bench.unbatched`, with the arguments of `ratelimitd`.
"""

from __future__ import annotations

from ratelimitd.__main__ import main
from ratelimitd.stores.redis import batcher

if __name__ == "__main__":
    batcher.MOST_DECISIONS = 1
    batcher.IN_FLIGHT = 1_000
    main()
