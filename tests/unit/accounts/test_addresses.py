"""Which URLs and addresses a webhook may have."""

import pytest

from ratelimitd.accounts.addresses import Destination, is_public, read_url

INSIDE = (
    *("https://127.0.0.1/", "https://127.8.9.1/", "https://0.0.0.0/", "https://10.0.0.1/"),
    *("https://172.16.0.1/", "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data"),
    *(
        "https://100.64.0.1/",
        "https://100.100.100.200/",
        "https://224.0.0.1/",
        "https://240.0.0.1/",
    ),
    *("https://255.255.255.255/", "https://192.0.2.1/", "https://198.18.0.1/", "https://[::1]/"),
    *("https://[::]/", "https://[fe80::1]/", "https://[fe80::1%25eth0]/", "https://[fc00::1]/"),
    *("https://[fd00:ec2::254]/", "https://[ff02::1]/", "https://[fec0::1]/"),
    *(
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::ffff:169.254.169.254]/",
    ),
    *("https://[::127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b::a00:1]/"),
    *("https://[2002:7f00:1::]/", "https://[2001:0:7f00:1::1]/", "https://[2001:db8::1]/"),
    *("https://2130706433/", "https://0x7f000001/", "https://0x7f.1/", "https://0177.0.0.1/"),
    *("https://127.1/", "https://127.0.0.1./", "https://localhost/", "https://LOCALHOST./"),
    *("https://a.localhost/", "https://printer.local/", "https://metadata.google.internal/"),
    *("https://intranet/", "https://①②⑦.0.0.1/", "https://127。0。0。1/"),
    *("https://example.com@127.0.0.1/", "https://127.0.0.1#@example.com/", "https://a\\@b.com/"),
    *("https://user:pw@example.com/", "http://example.com/", "file:///etc/passwd", "gopher://a.b/"),
    *("//example.com/", "https://", "https://example.com:0/", "https://example.com:99999/"),
    *("https://example.com/\r\nx-evil: 1", "https://exa mple.com/", "https://%31%32%37.0.0.1/"),
    *("https://example.com/" + "a" * 2048, "https://[::1", "https://-/", "javascript:alert(1)"),
)


@pytest.mark.parametrize("url", INSIDE)
def test_a_url_that_leads_inside_is_refused(url: str) -> None:
    """Whatever its spelling: no address of ours is taken down."""
    with pytest.raises(ValueError, match="URL"):
        read_url(url, allow_private=False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://example.com", Destination(True, "example.com", 443, "/")),
        ("https://Example.com./a?b=c", Destination(True, "example.com", 443, "/a?b=c")),
        (
            "https://xn--bcher-kva.example:8443/",
            Destination(True, "xn--bcher-kva.example", 8443, "/"),
        ),
        ("https://8.8.8.8/x", Destination(True, "8.8.8.8", 443, "/x")),
        ("https://[2606:4700::1111]/", Destination(True, "2606:4700::1111", 443, "/")),
    ],
)
def test_a_public_url_is_read(url: str, expected: Destination) -> None:
    """Names in lower case, addresses in their usual form, the path as it is."""
    assert read_url(url, allow_private=False) == expected


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/hook", "http://localhost/", "http://[::1]/"]
)
def test_the_operator_may_allow_what_is_private(url: str) -> None:
    """For receivers of one's own, and for trying."""
    assert not read_url(url, allow_private=True).is_tls


@pytest.mark.parametrize("url", ["file:///etc/passwd", "https://a@b.example/", "https://0x7f.1/"])
def test_nothing_else_is_allowed_with_it(url: str) -> None:
    """Oddities stay refused: no honest receiver has them."""
    with pytest.raises(ValueError, match="URL"):
        read_url(url, allow_private=True)


def test_the_host_header_names_the_host() -> None:
    """Ports and brackets where they belong."""
    assert read_url("https://a.example/", allow_private=False).authority == "a.example"
    assert read_url("https://a.example:444/", allow_private=False).authority == "a.example:444"
    assert read_url("http://[::1]:80/", allow_private=True).authority == "[::1]"


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_a_public_address_is_public(address: str) -> None:
    """The check would prove nothing if it refused everything."""
    assert is_public(address)


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3", "8.8.8.8/32", "fe80::1%lo"])
def test_what_is_no_plain_address_is_not_public(address: str) -> None:
    """Who cannot be read cannot be trusted."""
    assert not is_public(address)
