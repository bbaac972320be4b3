"""The flags, with what `--help` says of them: one wording where several commands have one.

Types only; what a flag's text means is `values`'.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ratelimitd.cli.values import split

LOCAL_ADMIN = "127.0.0.1:9090"
"""Where the admin listener is unless told otherwise, for those who serve and who ask."""

Admin = Annotated[
    str,
    Parameter(
        help="Where `/metrics` and administration are served. Beyond loopback only with "
        "`--admin-token-file` or `--tls-client-ca`, and with TLS where there is `--tls-cert`."
    ),
]
AdminTokenFile = Annotated[
    Path | None,
    Parameter(
        help="The token that administration and `/metrics` then demand (`Authorization: Bearer`), "
        "at least 16 bytes; several lines are several tokens."
    ),
]
AllowPrivateWebhooks = Annotated[
    bool,
    Parameter(
        help="Let customers' alerts be sent to private, loopback and link-local addresses, and "
        "over plain http. Default: only to public addresses, over https."
    ),
]
AllowRemote = Annotated[
    bool, Parameter(help="Load a limiter on another machine, whose owner knows of it.")
]
Api = Annotated[str, Parameter(help="Where the stub API answers. Port 0 picks a free one.")]
Connections = Annotated[int, Parameter(help="Connections at once.")]
DevStore = Annotated[
    str,
    Parameter(
        help="Where counts are kept: as for `serve`, or `redis`, which starts one for this alone."
    ),
]
Domain = Annotated[str, Parameter(help="The policy's domain.")]
Drain = Annotated[
    str,
    Parameter(help="How long to say NOT_SERVING before closing connections, as `500ms` or `3s`."),
]
Duration = Annotated[
    str | None,
    Parameter(help="How long, as `10s`; 5 minutes at most. Default: 5s, without `--requests`."),
]
Edge = Annotated[str, Parameter(help="Where Envoy serves clients. Port 0 picks a free one.")]
Entries = Annotated[
    str,
    Parameter(
        name="KEY=VALUE", show_env_var=False, help="The descriptor's entries, as Envoy sends them."
    ),
]
Generator = Annotated[
    str | None,
    Parameter(help="What makes the load: `h2load` or `grpcio`. Default: h2load if installed."),
]
Hits = Annotated[int | None, Parameter(help="How much to ask for. Default: 1.")]
Http = Annotated[
    str, Parameter(help="Where customers ask about their keys, and probes are served.")
]
Json = Annotated[bool, Parameter(name="--json", help="Answer in JSON, of a shape that stays.")]
Key = Annotated[
    str,
    Parameter(
        name="KEY",
        show_env_var=False,
        allow_leading_hyphen=True,
        help="The API key, `-` to read it from stdin, or `hash:` and its hash.",
    ),
]
KeysFile = Annotated[
    Path,
    Parameter(
        name="FILE",
        show_env_var=False,
        allow_leading_hyphen=True,
        help="JSON lines as `keys export` writes them, or with `api_key`; `-` for stdin.",
    ),
]
Attributes = Annotated[
    list[str] | None,
    Parameter(negative="--no-attr", help="NAME=VALUE, as `org=acme`; repeat it for several."),
]
BillingDay = Annotated[
    int | None, Parameter(help="Day of the month on which its calendar windows begin.")
]
Expires = Annotated[str | None, Parameter(help="When it ends, as `2026-12-31`, UTC; or `never`.")]
Boost = Annotated[
    list[str] | None,
    Parameter(
        negative="--no-boost",
        help="More than usual until `--until`: a factor for all limits, as `2x`, or METER=RATE in "
        "the place of the meter's limits; repeat it for several. Replaces the boost before.",
    ),
]
Until = Annotated[str | None, Parameter(help="When the boost ends, as `2026-12-31`; UTC.")]
Disabled = Annotated[
    bool | None, Parameter(negative="--enabled", help="Refuse it until it is enabled again.")
]
Note = Annotated[str | None, Parameter(help="For people; no rule sees it.")]
OwnLimits = Annotated[
    list[str] | None,
    Parameter(
        negative="--no-limit",
        help="METER=RATE, as `requests=20_000/hour`, in the place of the tier's limits of the "
        "meter; repeat it for several.",
    ),
]
Listen = Annotated[str, Parameter(help="Where gRPC is served, `HOST:PORT` or `unix:PATH`.")]
Listens = Annotated[
    list[str] | None,
    Parameter(
        env_var_split=split,
        help="Where gRPC is served, `HOST:PORT` or `unix:PATH`; repeat it for several. "
        "Port 0 picks a free one. Default: 127.0.0.1:8081.",
    ),
]
LogFormat = Annotated[Literal["text", "json"], Parameter(help="How log lines look.")]
Meter = Annotated[str, Parameter(help="Of this meter alone. Default: of all that are counted.")]
Output = Annotated[
    Path | None,
    Parameter(help="Write it to this file, which must not exist yet. Default: stdout."),
]
OwnPolicy = Annotated[
    Path | None, Parameter(help="A policy of your own. Default: what `ratelimitd init` prints.")
]
Peek = Annotated[bool, Parameter(help="Ask whether one more would pass, and charge nothing.")]
Policy = Annotated[Path, Parameter(help="A policy file, or a directory with one per domain.")]
PolicyFile = Annotated[
    Path,
    Parameter(
        name="FILE",
        show_env_var=False,
        allow_leading_hyphen=True,
        help="A policy file, a directory of them, or `-` for stdin.",
    ),
]
Registry = Annotated[
    str | None,
    Parameter(
        help="Where keys are registered: as for `--store`. Default: the same place; beside a file, "
        "PATH.keys. In memory they are gone when the limiter ends."
    ),
]
Requests = Annotated[int | None, Parameter(help="How many calls, instead of `--duration`.")]
SecretFile = Annotated[
    Path | None,
    Parameter(
        help="The secrets that API keys are hashed with, one per line: the first writes, all "
        "read. Without it: a published development secret, on loopback only."
    ),
]
Store = Annotated[
    str,
    Parameter(
        help="Where counts are kept: `memory`, `file:PATH`, or a Redis that limiters share: "
        "`redis://`, `rediss://`, `unix://`, `redis+sentinel://` or `redis+cluster://`. A URL with "
        "a password belongs in RATELIMITD_STORE: everybody on a machine can read command lines."
    ),
]
StoreTimeout = Annotated[
    str,
    Parameter(
        help="How long Redis may be silent before a decision is made without it, `1ms` to `10s`. "
        "Keep it below the time that Envoy waits."
    ),
]
Streams = Annotated[int, Parameter(help="Calls under way at once on each connection.")]
Target = Annotated[str, Parameter(help="The limiter's gRPC address, `HOST:PORT` or `unix:PATH`.")]
Tier = Annotated[str, Parameter(help="A tier that the policy has.")]
NewTier = Annotated[str | None, Parameter(help="A tier that the policy has, in place of its own.")]
OfTier = Annotated[str, Parameter(help="Only the keys of this tier.")]
TlsCa = Annotated[
    Path | None,
    Parameter(help="Speak TLS, and trust the authorities in this file. Default: plaintext."),
]
TlsCert = Annotated[
    Path | None,
    Parameter(
        help="Speak TLS on the gRPC listeners, with the certificates in this file: its own first, "
        "then those between it and the authority. TCP only. Default: plaintext."
    ),
]
TlsClientCa = Annotated[
    Path | None,
    Parameter(
        help="Refuse whoever has no valid certificate of an authority in this file (mutual TLS)."
    ),
]
TlsKey = Annotated[
    Path | None, Parameter(help="The private key of `--tls-cert`, in PEM form, not encrypted.")
]
TlsOwnCert = Annotated[
    Path | None, Parameter(help="Our own certificate, for a limiter with `--tls-client-ca`.")
]
Transport = Annotated[
    Literal["auto", "pyvoy", "h2corn", "grpcio"],
    Parameter(
        help="What carries gRPC: `pyvoy` is a real Envoy around the process, which no hostile peer "
        "slows down, and needs the extra `pyvoy`; `h2corn` is the fastest, `grpcio` the "
        "conservative one. `auto` takes pyvoy where it can be used, else h2corn."
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class AdminTarget:
    """The admin listener of a running limiter, for the commands that ask it."""

    admin: Annotated[
        str,
        Parameter(
            help="The limiter's admin listener, `HOST:PORT`. A token, where it wants one, stands "
            "in RATELIMITD_ADMIN_TOKEN.",
        ),
    ] = LOCAL_ADMIN
    tls_ca: TlsCa = None
    tls_cert: TlsOwnCert = None
    tls_key: TlsKey = None


HERE = AdminTarget()
"""The admin listener of this machine's limiter."""
TrustedProxies = Annotated[
    list[str] | None,
    Parameter(
        name="--trusted-proxy",
        env_var_split=split,
        help="An address or network whose X-Forwarded-For is believed on `--http`, as that of "
        "Envoys on other machines; repeat it for several. This machine's is believed always.",
    ),
]
WithEnvoy = Annotated[bool, Parameter(help="Put a real Envoy in front of the stub API.")]
Workers = Annotated[
    int,
    Parameter(
        help="Processes, up to 64; several need a Redis. Worker i listens on PORT+i, or at "
        "`unix:PATH.i`: list each in Envoy. HTTP and `/metrics` are the first one's, for all."
    ),
]
