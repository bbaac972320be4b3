"""What a process is set up with: stores and their passwords, workers and their addresses."""

from pathlib import Path
from typing import Any

import pytest

from ratelimitd.errors import SettingsError
from ratelimitd.settings import Address, Settings

REDIS = "redis://127.0.0.1:6379"
PASSWORD = "hunter2"


def made(**values: Any) -> Settings:  # noqa: ANN401 - a field's own type
    """Return settings with these values."""
    return Settings(policy=Path("p.yaml"), **values)


def faults(**values: Any) -> list[str]:  # noqa: ANN401 - a field's own type
    """Return what is wrong with these values."""
    with pytest.raises(SettingsError) as refused:
        made(**values)
    return str(refused.value).splitlines()


@pytest.mark.parametrize(
    "store",
    [
        REDIS,
        "rediss://u:pw@redis.example:6380/1",
        "unix:///run/redis.sock",
        "redis+sentinel://s1:26379,s2:26379/mymaster/0",
        "rediss+sentinel://s1/mymaster",
        "redis+cluster://n1:7000,n2:7000",
        "rediss+cluster://n1",
    ],
)
def test_every_kind_of_redis_is_a_store_for_several_workers(store: str) -> None:
    """Each has a scheme of its own."""
    assert made(store=store, workers=2).is_shared


@pytest.mark.parametrize("store", ["memory", "file:counts.db"])
def test_other_stores_are_one_process_s_own(store: str) -> None:
    """Several would let through several times each limit."""
    assert not made(store=store).is_shared
    (fault,) = faults(store=store, workers=2)
    assert fault.startswith("--workers 2: processes can share their counts through Redis only; ")


@pytest.mark.parametrize(
    "store",
    [
        f"redis://:{PASSWORD}@:6379",
        f"redis://u:{PASSWORD}@h:port",
        f"redis://u:{PASSWORD}@h/zero",
        f"redis://u:x/{PASSWORD}@h:port",
        f"redis://u:{PASSWORD}/x@h:port",
        f"redis://u:{PASSWORD}?x@h",
        f"redis://u:{PASSWORD}#x@h:port",
        f"redis://u:{PASSWORD}[@h:port",
        f"redis://u:{PASSWORD}\N{ACCOUNT OF}@h:port",
        f"redis+sentinel://u:{PASSWORD}@h",
        f"redis://h:port?password={PASSWORD}",
        f"rdis://u:{PASSWORD}@h",
        f"redis:u:{PASSWORD}@h",
    ],
)
def test_a_fault_of_a_url_names_the_flag_and_no_password(store: str) -> None:
    """Whatever is wrong, and wherever the password ended up because of it."""
    told = "\n".join(faults(store=store))
    assert told.startswith("--store")
    assert PASSWORD not in told


def test_a_password_is_not_shown() -> None:
    """Neither where settings are printed nor where the store is named."""
    settings = made(store=f"redis://user:{PASSWORD}@127.0.0.1:6379/2")
    assert PASSWORD not in repr(settings)
    assert PASSWORD not in settings.store_shown
    assert "127.0.0.1:6379/2" in settings.store_shown
    assert made().store_shown == "memory"


def test_the_store_timeout_is_below_envoy_s_patience_unless_told() -> None:
    """Envoy itself waits for 20 ms by default."""
    assert made().store_timeout == 0.012


@pytest.mark.parametrize("seconds", [0.0, 0.0009, 10.1, 3600.0])
def test_a_store_timeout_has_bounds(seconds: float) -> None:
    """Shorter, and no Redis is quick enough; longer, and nobody waits for the answer."""
    (fault,) = faults(store_timeout=seconds)
    assert fault.endswith("write 1ms to 10s")


@pytest.mark.parametrize("seconds", [0.001, 10.0])
def test_the_bounds_of_a_store_timeout_can_be_had(seconds: float) -> None:
    """They are the last values allowed."""
    assert made(store_timeout=seconds).store_timeout == seconds


@pytest.mark.parametrize("workers", [-1, 0, 65])
def test_there_are_1_to_64_workers(workers: int) -> None:
    """Nothing else is a number of processes."""
    assert faults(store=REDIS, workers=workers) == [f"--workers {workers}: write 1 to 64"]


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("127.0.0.1:8081", ["127.0.0.1:8081", "127.0.0.1:8082", "127.0.0.1:8083"]),
        ("[::1]:1", ["[::1]:1", "[::1]:2", "[::1]:3"]),
        ("127.0.0.1:0", ["127.0.0.1:0"] * 3),
        ("unix:/run/r.sock", ["unix:/run/r.sock", "unix:/run/r.sock.1", "unix:/run/r.sock.2"]),
    ],
)
def test_a_worker_s_address_is_the_given_one_and_its_number(text: str, places: list[str]) -> None:
    """Port 0 is a free one for each."""
    address = Address.parse(text)
    assert [str(address.of_worker(index)) for index in range(3)] == places


def test_workers_must_have_room() -> None:
    """Two flags that want one port are a fault of the flags, not of the machine."""
    listen = (Address("127.0.0.1", 8089), Address("127.0.0.1", 8091))
    assert faults(store=REDIS, workers=3, listen=listen) == [
        "--listen 127.0.0.1:8091: worker 0 needs 127.0.0.1:8091, which is --listen 127.0.0.1:8089's"
    ]
    below = (Address("127.0.0.1", 8079),)
    assert faults(store=REDIS, workers=2, listen=below) == [
        "--listen 127.0.0.1:8079: worker 1 needs 127.0.0.1:8080, which is --http's"
    ]
    last = (Address("127.0.0.1", 65_535),)
    assert faults(store=REDIS, workers=2, listen=last) == [
        "--listen 127.0.0.1:65535: leaves no 2 ports for the workers"
    ]


def test_what_fits_for_workers_is_no_fault() -> None:
    """One worker needs no room, free ports need none, nor do ports far enough apart."""
    made(workers=1, listen=(Address("127.0.0.1", 65_535),))
    made(store=REDIS, workers=64, listen=(Address("127.0.0.1", 0), Address("127.0.0.1", 0)))
    made(store=REDIS, workers=2, listen=(Address("127.0.0.1", 1), Address("127.0.0.1", 3)))
