"""The port to alerts and to the messages that wait to be delivered.

`tests/contract/test_outboxes.py` holds every outbox to what is said here. Knows no webhook.
"""

from __future__ import annotations

import enum
import json
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from ratelimitd.accounts.alerts import Alert, AlertType
from ratelimitd.model import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MOST_WAITING: Final = 100_000
"""Messages that wait; what comes beyond is refused, and due again with a later decision."""
MOST_OF_KEY: Final = 1_000
"""Messages of one key that wait: nobody's dead receivers take the room of others."""


class Added(enum.Enum):
    """What became of a message that was to be added."""

    ADDED = "added"
    KNOWN = "known"
    """The id had been added before: delivered, given up, or still waiting."""
    FULL = "full"
    """There is no room, for anybody or for its key."""


class Message(NamedTuple):
    """An event on its way."""

    id: str
    subject: Subject
    alert: str
    """The alert's id."""
    body: str
    created: int
    """Microseconds since the epoch."""
    attempts: int = 0
    """Deliveries tried so far."""


class Outbox(Protocol):
    """Alerts by subject, and messages: added once, delivered at least once.

    - What was answered is kept: by a file and by Redis through a restart and a kill.
    - Alerts have no lifetime. A message stays until it is acknowledged; its id is known until the
      instant that `add` was told, and longer never.
    - Instants are the caller's, microseconds; several processes may share one outbox.
    - `StoreError` (and its kinds) is the only exception that leaves an outbox. After one, the
      caller may say the same again.
    """

    async def start(self) -> None:
        """Open what is to be opened. Raises `StoreError`."""
        ...

    async def close(self) -> None:
        """Let go of everything. Idempotent."""
        ...

    async def put(self, alert: Alert, most: int) -> bool:
        """Keep an alert; False where its subject has `most` already, and nothing has changed."""
        ...

    async def remove(self, subject: Subject, alert: str) -> bool:
        """Forget a subject's alert and its state; False where the subject has no such."""
        ...

    async def alerts(self, subject: Subject) -> list[Alert]:
        """Return a subject's alerts in the order in which they were made."""
        ...

    async def changes(self, since: int) -> tuple[int, Sequence[Subject]]:
        """Return which subjects' alerts have changed since a mark (0: the beginning), and the next.

        A subject may be told twice and none is missed; at most 1,000 at once.
        """
        ...

    async def add(self, message: Message, over: int) -> Added:
        """Add a message whose id was never added; the id is known until `over` at least."""
        ...

    async def claim(self, now: int, until: int, most: int) -> list[Message]:
        """Return up to `most` messages that are due, the longest due first, and hide them.

        Nobody else gets them before `until`, by when they should be acknowledged or put off.
        """
        ...

    async def put_off(self, message: Message, due: int, state: str) -> None:
        """Let a claimed message be due later, with its attempts; `state` as for `acknowledge`."""
        ...

    async def acknowledge(self, message: Message, state: str) -> None:
        """Forget a message: it was delivered or given up. `state` is kept of its alert."""
        ...

    async def states(self, alerts: Sequence[str]) -> list[str]:
        """Return the last state of each alert; empty where nothing was sent yet."""
        ...

    async def waiting(self) -> int:
        """Return how many messages wait."""
        ...


def alert_text(alert: Alert) -> str:
    """Return an alert as it is kept, without its subject and id."""
    said = [alert.type.value, alert.limit, alert.threshold, alert.created, alert.sealed.hex()]
    return json.dumps(said)


def read_alert(subject: bytes, number: str, text: str | bytes) -> Alert | None:
    """Return the alert that was kept; None for one that only a newer release can read."""
    try:
        kind, limit, threshold, created, sealed = json.loads(text)
        return Alert(
            id=number,
            subject=Subject(subject),
            type=AlertType(kind),
            limit=limit,
            threshold=threshold,
            created=created,
            sealed=bytes.fromhex(sealed),
        )
    except (ValueError, TypeError):
        return None


def message_text(message: Message) -> str:
    """Return a message as it is kept."""
    return json.dumps([*message[:1], message.subject.hex(), *message[2:]])


def read_messages(texts: Iterable[str | bytes]) -> list[Message]:
    """Return the messages that were kept, without those that only a newer release can read."""
    return [message for message in map(_read_message, texts) if message is not None]


def _read_message(text: str | bytes) -> Message | None:
    try:
        number, subject, *rest = json.loads(text)
        return Message(number, Subject(bytes.fromhex(subject)), *rest)
    except (ValueError, TypeError):
        return None
