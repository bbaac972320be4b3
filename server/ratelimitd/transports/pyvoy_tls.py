"""TLS on the pyvoy transport: Envoy reads the certificate files itself, and again when they change.

Envoy takes new files for a certificate that it was sent as a *secret* only. So files beside its
configuration send it secrets, one each, which name ours. Knows no process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from ratelimitd.tls import Tls

Config = dict[str, Any]

HANDSHAKE = 5
"""Seconds that a handshake may take."""
_SERVER, _CLIENTS = "server", "clients"
_TYPE = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3"


def secrets(tls: Tls) -> dict[str, Config]:
    """Return the contents of the files that send the secrets, by their names."""
    pair = {
        "certificate_chain": _file(tls.cert),
        "private_key": _file(tls.key),
        **_watched(tls.cert, tls.key),
    }
    sent: dict[str, Config] = {_SERVER: {"tls_certificate": pair}}
    if tls.client_ca is not None:
        trusted = {"trusted_ca": _file(tls.client_ca), **_watched(tls.client_ca)}
        sent[_CLIENTS] = {"validation_context": trusted}
    return {
        f"{name}.json": {"resources": [{"@type": f"{_TYPE}.Secret", "name": name, **each}]}
        for name, each in sent.items()
    }


def transport_socket(tls: Tls, folder: Path) -> Config:
    """Return what a filter chain needs to speak TLS, with the files of `secrets` in a folder."""
    common: Config = {
        "alpn_protocols": ["h2"],
        "tls_params": {"tls_minimum_protocol_version": "TLSv1_2"},
        "tls_certificate_sds_secret_configs": [_sent(_SERVER, folder)],
    }
    if tls.client_ca is not None:
        common["validation_context_sds_secret_config"] = _sent(_CLIENTS, folder)
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": f"{_TYPE}.DownstreamTlsContext",
            "common_tls_context": common,
            "require_client_certificate": tls.client_ca is not None,
        },
    }


def _sent(name: str, folder: Path) -> Config:
    path = str(folder / f"{name}.json")
    source = {"path_config_source": {"path": path}, "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}


def _file(path: Path) -> Config:
    return {"filename": str(path.absolute())}


def _watched(*paths: Path) -> Config:
    """Return the folder in which something is renamed when the files change.

    Without it Envoy watches the files themselves, and misses links that are replaced farther up, as
    Kubernetes does.
    """
    folders = {str(path.absolute().parent) for path in paths}
    return {"watched_directory": {"path": folders.pop()}} if len(folders) == 1 else {}
