"""AdminService from the other side, for the command line: its messages, and JSON that stays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError

from ratelimitd._gen.ratelimitd.v1 import admin_pb2 as pb
from ratelimitd._gen.ratelimitd.v1.admin_pb2_grpc import AdminServiceStub
from ratelimitd.errors import SettingsError

if TYPE_CHECKING:
    import grpc
    from google.protobuf.message import Message

__all__ = ["as_dict", "pb", "record_of", "stub"]


def stub(channel: grpc.Channel) -> AdminServiceStub:
    """Return what calls an admin listener."""
    return AdminServiceStub(channel)


def as_dict(message: Message) -> dict[str, Any]:
    """Return a message as a shape for scripts: proto names, counts as numbers, nothing left out."""
    told: dict[str, Any] = MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return _whole(message.DESCRIPTOR, told)


def _whole(kind: Any, told: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401 - two types of it
    """Mend JSON of protobuf, at any depth: it writes counts as texts, and leaves out what is not.

    `kind` describes the message that was told.
    """
    for field in kind.fields:
        name, inner = field.name, field.message_type
        if field.cpp_type == field.CPPTYPE_UINT64:
            told[name] = int(told[name])
        elif inner is not None and told.setdefault(name, None) and inner.file is kind.file:
            if not field.is_repeated:
                _whole(inner, told[name])
            elif not inner.GetOptions().map_entry:
                told[name] = [_whole(inner, each) for each in told[name]]
    return told


def record_of(said: dict[str, Any], place: str = "a line") -> tuple[pb.KeyRecord, str]:
    """Return the record that JSON tells, and the key beside it. Raises `SettingsError`."""
    plain = dict(said)
    api_key = str(plain.pop("api_key", None) or "")
    try:
        return ParseDict(plain, pb.KeyRecord()), api_key
    except ParseError as error:
        msg = f"{place} is no record as `keys export` writes it"
        raise SettingsError(msg) from error
