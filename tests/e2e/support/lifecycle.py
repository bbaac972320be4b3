"""What Envoy's access log says of requests, and whether one key ever had too many at a time.

Pure: lines in, verdicts out. The load that writes such a log is `lifecycle_load`.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LOG_FORMAT: Final = {
    "key": "%REQ(X-API-KEY)%",
    "began": "%START_TIME(%s.%6f)%",
    "sent": "%COMMON_DURATION(DS_RX_BEG:US_TX_BEG:us)%",
    "lasted": "%DURATION%",
    "status": "%RESPONSE_CODE%",
    "limit": "%RESP(X-RATELIMIT-LIMIT)%",
    "lease": "%DYNAMIC_METADATA(envoy.filters.http.ratelimit:lease)%",
}
"""The fields of a line, which is a JSON object."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, by Envoy's account; instants in Unix seconds."""

    key: str
    status: int
    """As sent to the client; 0 where it had gone."""
    limit: str
    """The amount of the limit that the headers told of."""
    lease: str
    began: float
    """When its first byte came: before the limiter was asked."""
    sent: float | None
    """When it was passed on to the API, which is after the limiter's answer; None: it was not."""
    ended: float
    """Before its lease was given back."""


def read(line: str) -> Request:
    """Return what a line of the log tells."""
    told: dict[str, Any] = json.loads(line)
    began = float(told["began"])
    return Request(
        key=told["key"] or "",
        status=int(told["status"] or 0),
        limit=told["limit"] or "",
        lease=told["lease"] or "",
        began=began,
        sent=None if told["sent"] is None else began + told["sent"] / 1e6,
        ended=began + told["lasted"] / 1e3,
    )


def deepest(requests: Iterable[Request], lease: float) -> dict[str, int]:
    """Return how many requests of each key were at the API at the same time, at the most.

    A request counts from when it was passed on until its end, or until its lease has ended, which
    is no earlier than `lease` seconds after it came. Envoy tells the end in whole milliseconds,
    rounded down: what is found here did overlap.
    """
    turns: dict[str, list[tuple[float, int]]] = defaultdict(list)
    for request in requests:
        if request.sent is None:
            continue
        end = min(request.ended, request.began + lease)
        if end > request.sent:
            turns[request.key] += [(request.sent, 1), (end, -1)]
    most = {}
    for key, each in turns.items():
        depth = most[key] = 0
        for _, step in sorted(each):
            depth += step
            most[key] = max(most[key], depth)
    return most
