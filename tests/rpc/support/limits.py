"""One limit for each algorithm, spelled as policies spell it, with the most that it lets pass."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A limit of one algorithm that lets exactly `most` calls of one hit pass at one instant."""

    limit: str
    most: int
    meter: str = "requests"


KINDS = {
    "fixed_window": Row("{meter: requests, rate: 100/hour}", 100),
    "sliding_window": Row("{meter: requests, rate: 70/minute, algorithm: sliding_window}", 70),
    "token_bucket": Row(
        "{meter: requests, rate: 7/second, algorithm: token_bucket, burst: 50}", 50
    ),
    "lease": Row("{meter: concurrent, amount: 40}", 40, "concurrent"),
}
"""By the algorithm's name."""
