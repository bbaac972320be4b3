"""AdminService: keys and their counts for administrators. Convert, do, convert.

Registered on the admin listener only (`app`), which has let the caller in. Who that was, the
listener says in the metadata `ratelimitd-who`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ratelimitd._gen.ratelimitd.v1 import admin_pb2, admin_pb2_grpc
from ratelimitd.background import by_turns
from ratelimitd.errors import InvalidFieldsError
from ratelimitd.rpc import admin_records as convert
from ratelimitd.rpc.answering import answered, parse_with

if TYPE_CHECKING:
    from typing import Protocol

    from ratelimitd.accounts.administration import Administration
    from ratelimitd.accounts.record import Record
    from ratelimitd.model import Subject
    from ratelimitd.rpc import rich
    from ratelimitd.rpc.ratelimit import Registrar

    class Context(rich.Context, Protocol):
        """What is asked of a call."""

        def invocation_metadata(self) -> object:
            """Return the caller's metadata, as pairs."""
            ...


SERVICE = "ratelimitd.v1.AdminService"
WHO = "ratelimitd-who"
MOST_RECORDS = 1_000
USUAL_PAGE = 100


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Answers administrators."""

    def __init__(self, administration: Administration) -> None:
        self._admin = administration

    async def AddKey(
        self, request: admin_pb2.AddKeyRequest | None, context: Context
    ) -> admin_pb2.AddKeyResponse:
        """Register a key."""

        async def add(message: admin_pb2.AddKeyRequest) -> admin_pb2.AddKeyResponse:
            found = self._subjects(message.key)
            record = convert.read(message.record, found[0])
            made = await self._admin.add(_who(context), record, found)
            told = convert.told(made)
            return admin_pb2.AddKeyResponse(record=told, lasting=self._admin.is_lasting)

        return await answered(add, request, context)

    async def SetKey(
        self, request: admin_pb2.SetKeyRequest | None, context: Context
    ) -> admin_pb2.SetKeyResponse:
        """Change a key."""

        async def change(message: admin_pb2.SetKeyRequest) -> admin_pb2.SetKeyResponse:
            found = self._subjects(message.key)
            record = convert.read(message.record, found[0])
            told = convert.told(await self._admin.change(_who(context), record, found))
            return admin_pb2.SetKeyResponse(record=told, lasting=self._admin.is_lasting)

        return await answered(change, request, context)

    async def GetKey(
        self, request: admin_pb2.GetKeyRequest | None, context: Context
    ) -> admin_pb2.GetKeyResponse:
        """Tell of a key."""

        async def get(message: admin_pb2.GetKeyRequest) -> admin_pb2.GetKeyResponse:
            record, is_files = await self._admin.get(self._subjects(message.key))
            return admin_pb2.GetKeyResponse(record=convert.told(record, from_policy=is_files))

        return await answered(get, request, context)

    async def ListKeys(
        self, request: admin_pb2.ListKeysRequest | None, context: Context
    ) -> admin_pb2.ListKeysResponse:
        """Tell of keys, a page at a time."""

        async def page(message: admin_pb2.ListKeysRequest) -> admin_pb2.ListKeysResponse:
            most = message.page_size or USUAL_PAGE
            if most > MOST_RECORDS:
                raise InvalidFieldsError.of(("page_size", f"1 to {MOST_RECORDS}"))
            try:
                after = bytes.fromhex(message.page_token)
            except ValueError:
                text = "this is no token of a page"
                raise InvalidFieldsError.of(("page_token", text)) from None
            found, files = await self._admin.page(after, most, message.tier)
            told = [convert.told(r, from_policy=r.subject in files) for r in found.records]
            return admin_pb2.ListKeysResponse(records=told, next_page_token=found.after.hex())

        return await answered(page, request, context)

    async def RevokeKey(
        self, request: admin_pb2.RevokeKeyRequest | None, context: Context
    ) -> admin_pb2.RevokeKeyResponse:
        """Refuse a key."""

        async def revoke(message: admin_pb2.RevokeKeyRequest) -> admin_pb2.RevokeKeyResponse:
            record = await self._admin.revoke(_who(context), self._subjects(message.key))
            return admin_pb2.RevokeKeyResponse(record=convert.told(record))

        return await answered(revoke, request, context)

    async def ImportKeys(
        self, request: admin_pb2.ImportKeysRequest | None, context: Context
    ) -> admin_pb2.ImportKeysResponse:
        """Write keys."""

        async def load(message: admin_pb2.ImportKeysRequest) -> admin_pb2.ImportKeysResponse:
            if len(message.keys) > MOST_RECORDS:
                raise InvalidFieldsError.of(("keys", f"at most {MOST_RECORDS}"))
            numbered = by_turns(enumerate(message.keys))
            records = [self._imported(at, each) async for at, each in numbered]
            written = await self._admin.load(_who(context), records)
            return admin_pb2.ImportKeysResponse(written=written, lasting=self._admin.is_lasting)

        return await answered(load, request, context)

    async def GetUsage(
        self, request: admin_pb2.GetUsageRequest | None, context: Context
    ) -> admin_pb2.GetUsageResponse:
        """Tell how limits stand."""

        async def usage(message: admin_pb2.GetUsageRequest) -> admin_pb2.GetUsageResponse:
            told = await self._admin.usage(self._subjects(message.key))
            limits = map(convert.usage, told.usage)
            return admin_pb2.GetUsageResponse(limits=limits, tier=told.tier, refusal=told.refusal)

        return await answered(usage, request, context)

    async def Reset(
        self, request: admin_pb2.ResetRequest | None, context: Context
    ) -> admin_pb2.ResetResponse:
        """Forget what was used."""

        async def reset(message: admin_pb2.ResetRequest) -> admin_pb2.ResetResponse:
            found = self._subjects(message.key)
            told = await self._admin.reset(_who(context), found, message.meter)
            before, forgotten = (map(convert.usage, each) for each in told)
            return admin_pb2.ResetResponse(before=before, forgotten=forgotten)

        return await answered(reset, request, context)

    async def ListLeases(
        self, request: admin_pb2.ListLeasesRequest | None, context: Context
    ) -> admin_pb2.ListLeasesResponse:
        """Tell what is held."""

        async def listed(message: admin_pb2.ListLeasesRequest) -> admin_pb2.ListLeasesResponse:
            found = await self._admin.leases(self._subjects(message.key))
            return admin_pb2.ListLeasesResponse(limits=map(convert.held, found))

        return await answered(listed, request, context)

    def _subjects(self, key: admin_pb2.Key, field: str = "key") -> tuple[Subject, ...]:
        return tuple(convert.subjects(key, self._admin.subjects, field))

    def _imported(self, at: int, message: admin_pb2.AddKeyRequest) -> Record:
        field = f"keys[{at}]"
        try:
            return convert.read(message.record, self._subjects(message.key)[0])
        except InvalidFieldsError as error:
            raise error.within(field) from None


def _who(context: Context) -> str:
    pairs: object = context.invocation_metadata()
    found = dict(pairs or ())  # type: ignore[call-overload]
    return str(found.get(WHO, "unknown"))


def register(handlers: Registrar, servicer: AdminServicer) -> None:
    """Serve the AdminService."""
    admin_pb2_grpc.add_AdminServiceServicer_to_server(servicer, handlers)
    parse_with(handlers, admin_pb2, "AdminService")
