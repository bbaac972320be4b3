"""Our transcription in `proto/envoy` says what Envoy itself says, field by field.

Two witnesses: the descriptors of the xds-protos wheel, and those inside the real Envoy binary that
the tests run. Each disagreement that could be written by mistake is planted once, to be found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorSet

from tests.contract.envoy_descriptors import (
    DESCRIPTOR,
    NAMES,
    REQUEST,
    RESPONSE,
    SERVICE,
    disagreements,
    files_of_the_binary,
    files_of_the_wheel,
    our_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable

NEWER_THAN_THE_WHEEL = {
    f"{DESCRIPTOR}.is_negative_hits": "since Envoy 1.38",
    f"{DESCRIPTOR}.RateLimitOverride.unit_multiplier": "since Envoy 1.40",
    f"{RESPONSE}.RateLimit.unit_multiplier": "since Envoy 1.40",
}


def test_ours_agrees_with_the_xds_protos_wheel() -> None:
    """Every message, field, enum and method is as in xds-protos, but for the list of newer ones.

    The list must stay true: an entry that the wheel has come to know fails this test.
    """
    assert disagreements(our_files(), files_of_the_wheel(), NEWER_THAN_THE_WHEEL) == []


def test_ours_agrees_with_the_envoy_binary() -> None:
    """Every message, field, enum and method is as in the Envoy that the tests run: no exception."""
    assert disagreements(our_files(), files_of_the_binary(), {}) == []


def message_of(files: FileDescriptorSet, full_name: str) -> DescriptorProto:
    """Return a top-level message of `files`, to be changed in place."""
    return next(
        message
        for file in files.file
        for message in file.message_type
        if f"{file.package}.{message.name}" == full_name
    )


def renumber(files: FileDescriptorSet) -> None:
    """Give a field another number."""
    message_of(files, REQUEST).field[2].number = 4


def rename(files: FileDescriptorSet) -> None:
    """Give a field another name."""
    message_of(files, REQUEST).field[2].name = "hits"


def retype(files: FileDescriptorSet) -> None:
    """Give a field another type."""
    message_of(files, REQUEST).field[2].type = FieldDescriptorProto.TYPE_UINT64


def relabel(files: FileDescriptorSet) -> None:
    """Make a repeated field a single one."""
    message_of(files, REQUEST).field[1].label = FieldDescriptorProto.LABEL_OPTIONAL


def refer_elsewhere(files: FileDescriptorSet) -> None:
    """Let a field hold another message."""
    message_of(files, RESPONSE).field[2].type_name = f".{REQUEST}"


def leave_the_oneof(files: FileDescriptorSet) -> None:
    """Take a field of a nested message out of its oneof."""
    quota = next(m for m in message_of(files, RESPONSE).nested_type if m.name == "Quota")
    quota.field[1].ClearField("oneof_index")


def renumber_a_value(files: FileDescriptorSet) -> None:
    """Give a value of a nested enum another number."""
    message_of(files, RESPONSE).enum_type[0].value[2].number = 3


def drop_a_field(files: FileDescriptorSet) -> None:
    """Leave a field out."""
    del message_of(files, RESPONSE).field[6]


def drop_the_request(files: FileDescriptorSet) -> None:
    """Leave a whole message out that must be there."""
    file = next(file for file in files.file if file.service)
    file.message_type.remove(message_of(files, REQUEST))


def stream_the_answer(files: FileDescriptorSet) -> None:
    """Make the method a streaming one."""
    service = next(service for file in files.file for service in file.service)
    service.method[0].server_streaming = True


def change_the_syntax(files: FileDescriptorSet) -> None:
    """Make a file proto2, where presence means something else."""
    files.file[0].syntax = "proto2"


PLANTED: dict[Callable[[FileDescriptorSet], None], str] = {
    renumber: f"{REQUEST}.hits_addend",
    rename: f"{REQUEST}.hits",
    retype: f"{REQUEST}.hits_addend",
    relabel: f"{REQUEST}.descriptors",
    refer_elsewhere: f"{RESPONSE}.response_headers_to_add",
    leave_the_oneof: f"{RESPONSE}.Quota.valid_until",
    renumber_a_value: f"{RESPONSE}.Code.OVER_LIMIT",
    drop_a_field: f"{RESPONSE}.quota",
    drop_the_request: REQUEST,
    stream_the_answer: f"{SERVICE}.ShouldRateLimit",
    change_the_syntax: NAMES[0],
}


@pytest.mark.parametrize(
    ("plant", "name"), PLANTED.items(), ids=[plant.__name__ for plant in PLANTED]
)
def test_a_planted_disagreement_is_found(
    plant: Callable[[FileDescriptorSet], None], name: str
) -> None:
    """A transcription that is wrong in one place is told from a right one, and the place named."""
    spoilt = our_files()
    plant(spoilt)
    faults = disagreements(spoilt, files_of_the_binary(), {})
    assert name in {fault.partition(": ")[0] for fault in faults}


def test_the_list_of_newer_fields_cannot_go_stale() -> None:
    """An entry that the other side knows, or that ours no longer has, is a fault."""
    newer = {f"{REQUEST}.domain": "known to all", f"{REQUEST}.gone": "in neither"}
    assert disagreements(our_files(), files_of_the_binary(), newer) == [
        f"{REQUEST}.domain: listed as newer, known now",
        f"{REQUEST}.gone: listed as newer, not in ours",
    ]
