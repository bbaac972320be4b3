"""Signatures and pauses of deliveries."""

from ratelimitd.accounts.delivery import FIRST, LONGEST, pause, signed

EXAMPLE = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The key of the example that implementations of Standard Webhooks are tried with."""


def test_the_signature_is_that_of_the_standard() -> None:
    """The published example: id, time and body, joined by dots."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_000_000, b'{"test": 2432232314}', EXAMPLE
    )
    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_pauses_double_and_are_spread() -> None:
    """From a second or two up to an hour, half of it by chance."""
    assert [pause(attempts, 1.0) for attempts in (1, 2, 3)] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert pause(1, 0.0) == FIRST // 2
    assert pause(50, 1.0) == LONGEST
    assert pause(1000, 0.0) == LONGEST // 2
