"""URLs of `--store`: what they say, what is wrong with them, and how they are shown."""

from dataclasses import replace

import pytest

from ratelimitd.errors import SettingsError
from ratelimitd.stores.redis.urls import Target, TlsSettings, parse, redacted

HERE = Target(addresses=(("localhost", 6379),))

GOOD = (
    ("redis://localhost", HERE),
    ("redis://localhost:6379/0", HERE),
    ("redis://localhost/3", replace(HERE, db=3)),
    ("redis://localhost?db=3", replace(HERE, db=3)),
    ("redis://[::1]:7000", Target(addresses=(("::1", 7000),))),
    ("redis://:pw@localhost", replace(HERE, password="pw")),
    ("redis://user:pw@localhost", replace(HERE, username="user", password="pw")),
    ("redis://user:p%40%2F%3Fw@localhost", replace(HERE, username="user", password="p@/?w")),
    ("redis://user:p@w/d@localhost", replace(HERE, username="user", password="p@w/d")),
    ("redis://:@localhost", replace(HERE, password="")),
    ("redis://localhost?username=u&password=a@b", replace(HERE, username="u", password="a@b")),
    ("rediss://localhost", replace(HERE, tls=TlsSettings())),
    (
        "rediss://localhost?ssl_ca_certs=/ca&ssl_certfile=/c&ssl_keyfile=/k&ssl_check_hostname=no",
        replace(HERE, tls=TlsSettings(ca="/ca", cert="/c", key="/k", check_hostname=False)),
    ),
    ("rediss://localhost?ssl_cert_reqs=none", replace(HERE, tls=TlsSettings(verify=False))),
    ("unix:///run/redis.sock", Target(path="/run/redis.sock")),
    ("unix://u:pw@/run/a%20b?db=2", Target(path="/run/a b", db=2, username="u", password="pw")),
    (
        "redis+sentinel://a,b:1,[::1]/limits",
        Target(
            kind="sentinel", addresses=(("a", 26379), ("b", 1), ("::1", 26379)), service="limits"
        ),
    ),
    (
        "rediss+sentinel://u:pw@a/limits/4?sentinel_username=s&sentinel_password=sp",
        Target(
            kind="sentinel",
            addresses=(("a", 26379),),
            service="limits",
            db=4,
            username="u",
            password="pw",
            sentinel_username="s",
            sentinel_password="sp",
            tls=TlsSettings(),
        ),
    ),
    (
        "redis+cluster://:pw@a,b:7001",
        Target(kind="cluster", addresses=(("a", 6379), ("b", 7001)), password="pw"),
    ),
    ("rediss+cluster://a", Target(kind="cluster", addresses=(("a", 6379),), tls=TlsSettings())),
)


@pytest.mark.parametrize(("url", "target"), GOOD, ids=[url for url, _ in GOOD])
def test_what_a_url_says(url: str, target: Target) -> None:
    """Every scheme, with what may stand in it."""
    assert parse(url) == target


BAD = (
    ("localhost:6379", "write redis://HOST:PORT"),
    ("reddis://h", "did you mean redis://?"),
    ("http://h", "no scheme of Redis"),
    ("redis://", "write HOST:PORT"),
    ("redis://h:0", "write HOST:PORT"),
    ("redis://h:65536", "write HOST:PORT"),
    ("redis://::1", "[IPV6]:PORT"),
    ("redis://a,b", "redis+cluster://HOST,HOST or redis+sentinel://HOST,HOST/SERVICE"),
    ("redis://h/x", "'x' is no database: write a number"),
    ("redis://h/-1", "write a number"),
    ("redis://h?bd=2", "known are db, username, password"),
    ("redis://h?pasword=x", "did you mean password?"),
    ("redis://h?db=1&db=2", "db is given twice"),
    ("redis://h?ssl_ca_certs=/x", "it is for TLS: write rediss://"),
    ("redis+cluster://h?ssl_keyfile=/x", "it is for TLS: write rediss+cluster://"),
    ("redis://user@h", "a user needs a password"),
    ("rediss://h?ssl_keyfile=/x", "ssl_keyfile needs ssl_certfile"),
    ("rediss://h?ssl_check_hostname=maybe", "write true or false"),
    ("rediss://h?ssl_cert_reqs=none&ssl_ca_certs=/x", "leave out one"),
    ("unix://run/redis.sock", "unix:///run/redis.sock"),
    ("unix://", "unix:///run/redis.sock"),
    ("redis+cluster://h/3", "a cluster has one database"),
    ("redis+sentinel://h", "…/SERVICE"),
    ("redis+sentinel://h/s?sentinel_username=u", "sentinel_username needs sentinel_password"),
)


@pytest.mark.parametrize(("url", "mend"), BAD, ids=[url for url, _ in BAD])
def test_what_is_wrong_is_told_with_its_mend(url: str, mend: str) -> None:
    """One sentence for each fault."""
    with pytest.raises(SettingsError) as fault:
        parse(url)
    assert mend in str(fault.value)
    assert "\n" not in str(fault.value)


def test_all_faults_are_told_at_once() -> None:
    """A line each."""
    with pytest.raises(SettingsError) as fault:
        parse("redis+cluster://h:0/3?nonsense=1")
    assert len(str(fault.value).splitlines()) == 3


SECRET = "s3cret"
HOLDING = (
    (f"redis://:{SECRET}@h:1/2", "redis://:***@h:1/2"),
    (f"redis://user:{SECRET}@h", "redis://user:***@h"),
    (f"redis://user:x@{SECRET}@h", "redis://user:***@h"),
    (f"redis://user:x/{SECRET}@h", "redis://user:***@h"),
    (f"redis://user:x?{SECRET}@h", "redis://***"),
    (f"redis://user:x?{SECRET}=1@h", "redis://***"),
    (f"redis://user:{SECRET}", "redis://user:***"),
    (f"redis://h?password={SECRET}&db=2", "redis://h?password=***&db=2"),
    (f"redis://h?pasword={SECRET}", "redis://h?pasword=***"),
    (f"redis://h?password=x@{SECRET}", "redis://***"),
    (
        f"redis+sentinel://:{SECRET}@h/s?sentinel_password={SECRET}",
        "redis+sentinel://:***@h/s?sentinel_password=***",
    ),
    (f"unix://:{SECRET}@/run/x", "unix://:***@/run/x"),
    (f"reddis://:{SECRET}@h", "reddis://:***@h"),
    (f"{SECRET}@h", "***"),
)


@pytest.mark.parametrize(("url", "shown"), HOLDING, ids=[url for url, _ in HOLDING])
def test_no_secret_is_shown(url: str, shown: str) -> None:
    """Not by `redacted`, not by a fault, not by a target."""
    assert redacted(url) == shown
    try:
        said = repr(parse(url))
    except SettingsError as fault:
        said = str(fault)
    assert SECRET not in said


@pytest.mark.parametrize(
    "url", ["redis://h:1/2", "redis://[::1]:7000/0", "unix:///run/a:b", "redis+cluster://a:1,b:2"]
)
def test_the_rest_is_shown(url: str) -> None:
    """What is no secret helps who reads the log."""
    assert redacted(url) == url
