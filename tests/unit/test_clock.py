"""The clocks, under a wall clock and a monotonic clock that the test moves."""

import pytest

from ratelimitd import clock
from ratelimitd.clock import ManualClock, SystemClock, steady_ns

S_NS = 1_000_000_000
NOON = 1_704_110_400 * S_NS


class Host:
    """The two clocks of a machine, in nanoseconds; before each reading `pause` goes by."""

    def __init__(self) -> None:
        self.wall = NOON
        self.running = 5 * S_NS
        self.pause = 0

    def pass_time(self, nanoseconds: int) -> None:
        """Let time go by on both."""
        self.wall += nanoseconds
        self.running += nanoseconds

    def time_ns(self) -> int:
        """Stand in for `time.time_ns`."""
        self.pass_time(self.pause)
        return self.wall

    def monotonic_ns(self) -> int:
        """Stand in for `time.monotonic_ns`."""
        self.pass_time(self.pause)
        return self.running


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    """A machine whose clocks the test moves."""
    machine = Host()
    monkeypatch.setattr(clock, "time_ns", machine.time_ns)
    monkeypatch.setattr(clock, "monotonic_ns", machine.monotonic_ns)
    return machine


def test_the_system_clock_tells_microseconds_since_the_epoch(host: Host) -> None:
    """It starts at the wall clock's instant and runs with it."""
    now = SystemClock()
    assert now() == NOON // 1000
    host.pass_time(1_999)
    assert now() == NOON // 1000 + 1


def test_a_step_forward_is_followed(host: Host) -> None:
    """A clock that was behind is put right: windows turn when they should."""
    now = SystemClock()
    host.wall += 3600 * S_NS
    assert now() == (NOON + 3600 * S_NS) // 1000


def test_a_step_back_is_not_followed(host: Host) -> None:
    """Windows never reopen, and time goes on at its usual pace: nobody is locked out."""
    now = SystemClock()
    host.wall -= 3600 * S_NS
    assert now() == NOON // 1000
    host.pass_time(2 * S_NS)
    assert now() == (NOON + 2 * S_NS) // 1000


def test_a_small_step_back_is_stood_out(host: Host) -> None:
    """The clock waits for the wall, and is not ahead of it from then on."""
    now = SystemClock()
    host.pass_time(S_NS)
    last = now()
    host.wall -= 50_000_000
    assert now() == last
    host.pass_time(30_000_000)
    assert now() == last
    host.pass_time(30_000_000)
    assert now() == host.wall // 1000 == last + 10_000


@pytest.mark.parametrize("step", [50_000_000, 3600 * S_NS])
def test_after_a_step_back_readings_are_cheap_again(
    host: Host, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """The second clock is read to judge the step, and not on every call from then on."""
    now = SystemClock()
    host.wall -= step
    now()
    host.pass_time(60_000_000)
    now()
    monkeypatch.setattr(clock, "monotonic_ns", None)
    last = now()
    for _ in range(5):
        host.pass_time(1_000_000)
        last += 1000
        assert now() == last


def test_a_wall_clock_that_is_put_right_in_part_is_followed_in_part(host: Host) -> None:
    """An hour back, half an hour forth: still ahead of it by half an hour, and at its pace."""
    now = SystemClock()
    host.wall -= 3600 * S_NS
    now()
    for step in (1800, 1800, 10):
        host.wall += step * S_NS
        host.pass_time(S_NS)
        now()
    assert now() == host.wall // 1000 == NOON // 1000 + 13_000_000


def test_after_a_step_back_and_forth_the_clock_is_where_it_was(host: Host) -> None:
    """A wall clock put back by mistake and forth again leaves no trace."""
    now = SystemClock()
    host.wall -= 3600 * S_NS
    now()
    host.wall += 3600 * S_NS
    assert now() == NOON // 1000


def test_steps_of_every_size_never_turn_the_clock_back(host: Host) -> None:
    """Whatever the wall clock does, no answer is less than an earlier one."""
    now = SystemClock()
    last = now()
    for step in (-1, 50_000_000, -50_000_000, -S_NS, 99_999_999, S_NS, -7, 10 * S_NS, -10 * S_NS):
        host.wall += step
        host.pass_time(1_000_000)
        assert last <= now()
        last = now()


@pytest.mark.parametrize("pause", [1, 50_000_000, 3 * S_NS])
def test_a_pause_between_the_two_readings_does_not_push_the_clock_ahead(
    host: Host, pause: int
) -> None:
    """However long the process stood still, the clock is not ahead of the wall for good."""
    now = SystemClock()
    host.pause = pause
    now()
    host.pause = 0
    assert now() == host.wall // 1000


def test_a_pause_while_the_clock_is_made_is_put_right(host: Host) -> None:
    """A start under load leaves the clock behind by no more than the threshold."""
    host.pause = 3 * S_NS
    now = SystemClock()
    host.pause = 0
    assert now() == host.wall // 1000


def test_a_manual_clock_stands_still_until_told() -> None:
    """Tests and simulations own time."""
    now = ManualClock(5)
    assert (now(), now()) == (5, 5)
    now.advance(0)
    now.advance(7)
    assert now() == now.now == 12


def test_a_manual_clock_cannot_go_back() -> None:
    """The port promises that time never runs backwards."""
    now = ManualClock(5)
    with pytest.raises(ValueError, match="cannot go back by 1"):
        now.advance(-1)
    assert now() == 5


def test_durations_are_measured_on_the_monotonic_clock(host: Host) -> None:
    """A step of the wall clock changes no deadline."""
    before = steady_ns()
    host.wall += 3600 * S_NS
    assert steady_ns() == before
