import datetime

from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Key(_message.Message):
    __slots__ = ("api_key", "subject")
    API_KEY_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    api_key: str
    subject: str
    def __init__(self, api_key: _Optional[str] = ..., subject: _Optional[str] = ...) -> None: ...

class OwnLimit(_message.Message):
    __slots__ = ("meter", "rate", "algorithm", "burst", "when", "per", "for_domain", "name", "shadow")
    class WhenEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    METER_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    ALGORITHM_FIELD_NUMBER: _ClassVar[int]
    BURST_FIELD_NUMBER: _ClassVar[int]
    WHEN_FIELD_NUMBER: _ClassVar[int]
    PER_FIELD_NUMBER: _ClassVar[int]
    FOR_DOMAIN_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    meter: str
    rate: str
    algorithm: str
    burst: int
    when: _containers.ScalarMap[str, str]
    per: _containers.RepeatedScalarFieldContainer[str]
    for_domain: bool
    name: str
    shadow: bool
    def __init__(self, meter: _Optional[str] = ..., rate: _Optional[str] = ..., algorithm: _Optional[str] = ..., burst: _Optional[int] = ..., when: _Optional[_Mapping[str, str]] = ..., per: _Optional[_Iterable[str]] = ..., for_domain: _Optional[bool] = ..., name: _Optional[str] = ..., shadow: _Optional[bool] = ...) -> None: ...

class Boost(_message.Message):
    __slots__ = ("until", "factor", "limits")
    UNTIL_FIELD_NUMBER: _ClassVar[int]
    FACTOR_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    until: _timestamp_pb2.Timestamp
    factor: str
    limits: _containers.RepeatedCompositeFieldContainer[OwnLimit]
    def __init__(self, until: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., factor: _Optional[str] = ..., limits: _Optional[_Iterable[_Union[OwnLimit, _Mapping]]] = ...) -> None: ...

class KeyRecord(_message.Message):
    __slots__ = ("subject", "tier", "limits", "attributes", "billing_day", "note", "expires", "disabled", "revoked", "boost", "version", "from_policy")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    BILLING_DAY_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_FIELD_NUMBER: _ClassVar[int]
    DISABLED_FIELD_NUMBER: _ClassVar[int]
    REVOKED_FIELD_NUMBER: _ClassVar[int]
    BOOST_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FROM_POLICY_FIELD_NUMBER: _ClassVar[int]
    subject: str
    tier: str
    limits: _containers.RepeatedCompositeFieldContainer[OwnLimit]
    attributes: _containers.ScalarMap[str, str]
    billing_day: int
    note: str
    expires: _timestamp_pb2.Timestamp
    disabled: bool
    revoked: bool
    boost: Boost
    version: int
    from_policy: bool
    def __init__(self, subject: _Optional[str] = ..., tier: _Optional[str] = ..., limits: _Optional[_Iterable[_Union[OwnLimit, _Mapping]]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., billing_day: _Optional[int] = ..., note: _Optional[str] = ..., expires: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., disabled: _Optional[bool] = ..., revoked: _Optional[bool] = ..., boost: _Optional[_Union[Boost, _Mapping]] = ..., version: _Optional[int] = ..., from_policy: _Optional[bool] = ...) -> None: ...

class AddKeyRequest(_message.Message):
    __slots__ = ("key", "record")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    key: Key
    record: KeyRecord
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ..., record: _Optional[_Union[KeyRecord, _Mapping]] = ...) -> None: ...

class AddKeyResponse(_message.Message):
    __slots__ = ("record", "lasting")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    LASTING_FIELD_NUMBER: _ClassVar[int]
    record: KeyRecord
    lasting: bool
    def __init__(self, record: _Optional[_Union[KeyRecord, _Mapping]] = ..., lasting: _Optional[bool] = ...) -> None: ...

class SetKeyRequest(_message.Message):
    __slots__ = ("key", "record")
    KEY_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    key: Key
    record: KeyRecord
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ..., record: _Optional[_Union[KeyRecord, _Mapping]] = ...) -> None: ...

class SetKeyResponse(_message.Message):
    __slots__ = ("record", "lasting")
    RECORD_FIELD_NUMBER: _ClassVar[int]
    LASTING_FIELD_NUMBER: _ClassVar[int]
    record: KeyRecord
    lasting: bool
    def __init__(self, record: _Optional[_Union[KeyRecord, _Mapping]] = ..., lasting: _Optional[bool] = ...) -> None: ...

class GetKeyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class GetKeyResponse(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: KeyRecord
    def __init__(self, record: _Optional[_Union[KeyRecord, _Mapping]] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "tier")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    tier: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., tier: _Optional[str] = ...) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("records", "next_page_token")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    records: _containers.RepeatedCompositeFieldContainer[KeyRecord]
    next_page_token: str
    def __init__(self, records: _Optional[_Iterable[_Union[KeyRecord, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RevokeKeyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class RevokeKeyResponse(_message.Message):
    __slots__ = ("record",)
    RECORD_FIELD_NUMBER: _ClassVar[int]
    record: KeyRecord
    def __init__(self, record: _Optional[_Union[KeyRecord, _Mapping]] = ...) -> None: ...

class ImportKeysRequest(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedCompositeFieldContainer[AddKeyRequest]
    def __init__(self, keys: _Optional[_Iterable[_Union[AddKeyRequest, _Mapping]]] = ...) -> None: ...

class ImportKeysResponse(_message.Message):
    __slots__ = ("written", "lasting")
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    LASTING_FIELD_NUMBER: _ClassVar[int]
    written: int
    lasting: bool
    def __init__(self, written: _Optional[int] = ..., lasting: _Optional[bool] = ...) -> None: ...

class GetUsageRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class GetUsageResponse(_message.Message):
    __slots__ = ("limits", "tier", "refusal")
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    TIER_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    limits: _containers.RepeatedCompositeFieldContainer[LimitUsage]
    tier: str
    refusal: str
    def __init__(self, limits: _Optional[_Iterable[_Union[LimitUsage, _Mapping]]] = ..., tier: _Optional[str] = ..., refusal: _Optional[str] = ...) -> None: ...

class LimitUsage(_message.Message):
    __slots__ = ("domain", "limit", "meter", "window", "amount", "used", "remaining", "reset", "forecast")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    USED_FIELD_NUMBER: _ClassVar[int]
    REMAINING_FIELD_NUMBER: _ClassVar[int]
    RESET_FIELD_NUMBER: _ClassVar[int]
    FORECAST_FIELD_NUMBER: _ClassVar[int]
    domain: str
    limit: str
    meter: str
    window: str
    amount: int
    used: int
    remaining: int
    reset: _timestamp_pb2.Timestamp
    forecast: Forecast
    def __init__(self, domain: _Optional[str] = ..., limit: _Optional[str] = ..., meter: _Optional[str] = ..., window: _Optional[str] = ..., amount: _Optional[int] = ..., used: _Optional[int] = ..., remaining: _Optional[int] = ..., reset: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., forecast: _Optional[_Union[Forecast, _Mapping]] = ...) -> None: ...

class Forecast(_message.Message):
    __slots__ = ("projected", "exceeds", "reached")
    PROJECTED_FIELD_NUMBER: _ClassVar[int]
    EXCEEDS_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    projected: int
    exceeds: bool
    reached: _timestamp_pb2.Timestamp
    def __init__(self, projected: _Optional[int] = ..., exceeds: _Optional[bool] = ..., reached: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("key", "meter")
    KEY_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    key: Key
    meter: str
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ..., meter: _Optional[str] = ...) -> None: ...

class ResetResponse(_message.Message):
    __slots__ = ("before", "forgotten")
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    FORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    before: _containers.RepeatedCompositeFieldContainer[LimitUsage]
    forgotten: _containers.RepeatedCompositeFieldContainer[LimitUsage]
    def __init__(self, before: _Optional[_Iterable[_Union[LimitUsage, _Mapping]]] = ..., forgotten: _Optional[_Iterable[_Union[LimitUsage, _Mapping]]] = ...) -> None: ...

class ListLeasesRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: Key
    def __init__(self, key: _Optional[_Union[Key, _Mapping]] = ...) -> None: ...

class ListLeasesResponse(_message.Message):
    __slots__ = ("limits",)
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    limits: _containers.RepeatedCompositeFieldContainer[HeldLimit]
    def __init__(self, limits: _Optional[_Iterable[_Union[HeldLimit, _Mapping]]] = ...) -> None: ...

class HeldLimit(_message.Message):
    __slots__ = ("domain", "limit", "meter", "amount", "held", "leases")
    DOMAIN_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    METER_FIELD_NUMBER: _ClassVar[int]
    AMOUNT_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    LEASES_FIELD_NUMBER: _ClassVar[int]
    domain: str
    limit: str
    meter: str
    amount: int
    held: int
    leases: _containers.RepeatedCompositeFieldContainer[HeldLease]
    def __init__(self, domain: _Optional[str] = ..., limit: _Optional[str] = ..., meter: _Optional[str] = ..., amount: _Optional[int] = ..., held: _Optional[int] = ..., leases: _Optional[_Iterable[_Union[HeldLease, _Mapping]]] = ...) -> None: ...

class HeldLease(_message.Message):
    __slots__ = ("mark", "ends")
    MARK_FIELD_NUMBER: _ClassVar[int]
    ENDS_FIELD_NUMBER: _ClassVar[int]
    mark: str
    ends: _timestamp_pb2.Timestamp
    def __init__(self, mark: _Optional[str] = ..., ends: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...
