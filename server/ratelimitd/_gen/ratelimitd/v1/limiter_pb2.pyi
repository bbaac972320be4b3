import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Reason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REASON_UNSPECIFIED: _ClassVar[Reason]
    REASON_OVER_LIMIT: _ClassVar[Reason]
    REASON_EXCEEDS_LIMIT: _ClassVar[Reason]
    REASON_KEY_REFUSED: _ClassVar[Reason]
    REASON_STORE_UNAVAILABLE: _ClassVar[Reason]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_SETTLED: _ClassVar[Outcome]
    OUTCOME_ALREADY_SETTLED: _ClassVar[Outcome]
REASON_UNSPECIFIED: Reason
REASON_OVER_LIMIT: Reason
REASON_EXCEEDS_LIMIT: Reason
REASON_KEY_REFUSED: Reason
REASON_STORE_UNAVAILABLE: Reason
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_SETTLED: Outcome
OUTCOME_ALREADY_SETTLED: Outcome

class Ask(_message.Message):
    __slots__ = ("meter", "amount", "peek")
    METER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    PEEK_FIELD_NUMBER: _ClassVar[int]
    meter: str
    amount: int
    peek: bool
    def __init__(self, meter: _Optional[str] = ..., amount: _Optional[int] = ..., peek: _Optional[bool] = ...) -> None: ...

class Amount(_message.Message):
    __slots__ = ("meter", "amount")
    METER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    meter: str
    amount: int
    def __init__(self, meter: _Optional[str] = ..., amount: _Optional[int] = ...) -> None: ...

class DecideRequest(_message.Message):
    __slots__ = ("domain", "api_key", "subject", "entries", "asks")
    class EntriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ASKS_FIELD_NUMBER: _ClassVar[int]
    domain: str
    api_key: str
    subject: str
    entries: _containers.ScalarMap[str, str]
    asks: _containers.RepeatedCompositeFieldContainer[Ask]
    def __init__(self, domain: _Optional[str] = ..., api_key: _Optional[str] = ..., subject: _Optional[str] = ..., entries: _Optional[_Mapping[str, str]] = ..., asks: _Optional[_Iterable[_Union[Ask, _Mapping]]] = ...) -> None: ...

class DecideResponse(_message.Message):
    __slots__ = ("decision", "lease")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    lease: Lease
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ...) -> None: ...

class Decision(_message.Message):
    __slots__ = ("allowed", "reason", "message", "retry_after", "limits", "headers", "body", "decided_at")
    ALLOWED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    DECIDED_AT_FIELD_NUMBER: _ClassVar[int]
    allowed: bool
    reason: Reason
    message: str
    retry_after: _duration_pb2.Duration
    limits: _containers.RepeatedCompositeFieldContainer[LimitState]
    headers: _containers.RepeatedCompositeFieldContainer[Header]
    body: str
    decided_at: _timestamp_pb2.Timestamp
    def __init__(self, allowed: _Optional[bool] = ..., reason: _Optional[_Union[Reason, str]] = ..., message: _Optional[str] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., limits: _Optional[_Iterable[_Union[LimitState, _Mapping]]] = ..., headers: _Optional[_Iterable[_Union[Header, _Mapping]]] = ..., body: _Optional[str] = ..., decided_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class LimitState(_message.Message):
    __slots__ = ("name", "meter", "limit", "used", "remaining", "reset_at", "retry_after", "denied", "shadow")
    NAME_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESET_AT_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_FIELD_NUMBER: _ClassVar[int]
    DENIED_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    name: str
    meter: str
    limit: int
    used: int
    remaining: int
    reset_at: _timestamp_pb2.Timestamp
    retry_after: _duration_pb2.Duration
    denied: bool
    shadow: bool
    def __init__(self, name: _Optional[str] = ..., meter: _Optional[str] = ..., limit: _Optional[int] = ..., used: _Optional[int] = ..., remaining: _Optional[int] = ..., reset_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., retry_after: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., denied: _Optional[bool] = ..., shadow: _Optional[bool] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("name", "value")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: str
    def __init__(self, name: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...

class Lease(_message.Message):
    __slots__ = ("id", "expires_at", "lasts")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    LASTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    expires_at: _timestamp_pb2.Timestamp
    lasts: _duration_pb2.Duration
    def __init__(self, id: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lasts: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReleaseRequest(_message.Message):
    __slots__ = ("domain", "api_key", "subject", "entries", "lease_id")
    class EntriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    domain: str
    api_key: str
    subject: str
    entries: _containers.ScalarMap[str, str]
    lease_id: str
    def __init__(self, domain: _Optional[str] = ..., api_key: _Optional[str] = ..., subject: _Optional[str] = ..., entries: _Optional[_Mapping[str, str]] = ..., lease_id: _Optional[str] = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("released",)
    RELEASED_FIELD_NUMBER: _ClassVar[int]
    released: bool
    def __init__(self, released: _Optional[bool] = ...) -> None: ...

class RenewRequest(_message.Message):
    __slots__ = ("domain", "api_key", "subject", "entries", "lease_id")
    class EntriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    LEASE_ID_FIELD_NUMBER: _ClassVar[int]
    domain: str
    api_key: str
    subject: str
    entries: _containers.ScalarMap[str, str]
    lease_id: str
    def __init__(self, domain: _Optional[str] = ..., api_key: _Optional[str] = ..., subject: _Optional[str] = ..., entries: _Optional[_Mapping[str, str]] = ..., lease_id: _Optional[str] = ...) -> None: ...

class RenewResponse(_message.Message):
    __slots__ = ("renewed", "lease")
    RENEWED_FIELD_NUMBER: _ClassVar[int]
    LEASE_FIELD_NUMBER: _ClassVar[int]
    renewed: bool
    lease: Lease
    def __init__(self, renewed: _Optional[bool] = ..., lease: _Optional[_Union[Lease, _Mapping]] = ...) -> None: ...

class ReserveRequest(_message.Message):
    __slots__ = ("domain", "api_key", "subject", "entries", "estimates")
    class EntriesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    ESTIMATES_FIELD_NUMBER: _ClassVar[int]
    domain: str
    api_key: str
    subject: str
    entries: _containers.ScalarMap[str, str]
    estimates: _containers.RepeatedCompositeFieldContainer[Amount]
    def __init__(self, domain: _Optional[str] = ..., api_key: _Optional[str] = ..., subject: _Optional[str] = ..., entries: _Optional[_Mapping[str, str]] = ..., estimates: _Optional[_Iterable[_Union[Amount, _Mapping]]] = ...) -> None: ...

class ReserveResponse(_message.Message):
    __slots__ = ("decision", "reservation")
    DECISION_FIELD_NUMBER: _ClassVar[int]
    RESERVATION_FIELD_NUMBER: _ClassVar[int]
    decision: Decision
    reservation: Reservation
    def __init__(self, decision: _Optional[_Union[Decision, _Mapping]] = ..., reservation: _Optional[_Union[Reservation, _Mapping]] = ...) -> None: ...

class Reservation(_message.Message):
    __slots__ = ("id", "expires_at", "lasts")
    ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_FIELD_NUMBER: _ClassVar[int]
    LASTS_FIELD_NUMBER: _ClassVar[int]
    id: str
    expires_at: _timestamp_pb2.Timestamp
    lasts: _duration_pb2.Duration
    def __init__(self, id: _Optional[str] = ..., expires_at: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., lasts: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class SettleRequest(_message.Message):
    __slots__ = ("reservation_id", "actual")
    RESERVATION_ID_FIELD_NUMBER: _ClassVar[int]
    ACTUAL_FIELD_NUMBER: _ClassVar[int]
    reservation_id: str
    actual: _containers.RepeatedCompositeFieldContainer[Amount]
    def __init__(self, reservation_id: _Optional[str] = ..., actual: _Optional[_Iterable[_Union[Amount, _Mapping]]] = ...) -> None: ...

class SettleResponse(_message.Message):
    __slots__ = ("outcome", "limits")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    outcome: Outcome
    limits: _containers.RepeatedCompositeFieldContainer[LimitState]
    def __init__(self, outcome: _Optional[_Union[Outcome, str]] = ..., limits: _Optional[_Iterable[_Union[LimitState, _Mapping]]] = ...) -> None: ...
