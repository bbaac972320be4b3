"""Whatever happens to a circuit breaker, in whatever order."""

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from ratelimitd.errors import StoreTimeoutError
from ratelimitd.stores.redis.breaker import INTERVAL_NS, Breaker, State

SILENT = StoreTimeoutError("silent")


class History(RuleBasedStateMachine):
    """A server that is up or down, commands, probes and time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.up = True
        self.sent = self.probes_under_way = 0
        self.told: list[State] = []
        self.breaker = Breaker(
            lambda: self.now, on_change=lambda state, _: self.told.append(state), jitter=lambda: 0.5
        )

    @rule()
    def turn(self) -> None:
        """The server goes, or comes back."""
        self.up = not self.up

    @rule(many=st.integers(1, 5))
    def send(self, many: int) -> None:
        """Commands of one moment: all of them fail where the server is down."""
        sent = [self.breaker.refusal() is None for _ in range(many)]
        assert len(set(sent)) == 1
        if sent[0] and not self.up:
            for _ in sent:
                self.breaker.failed(SILENT)

    @rule()
    def probe(self) -> None:
        """Send a probe where one is due."""
        if self.breaker.probe_in_ns() == 0:
            self.breaker.probe_sent()
            self.probes_under_way += 1

    @rule()
    def answer(self) -> None:
        """End the probe that is under way."""
        if self.probes_under_way:
            self.probes_under_way -= 1
            self.breaker.probe_ended(None if self.up else SILENT)

    @rule(pause=st.integers(0, 3 * INTERVAL_NS))
    def wait(self, pause: int) -> None:
        """Time passes."""
        self.now += pause

    @invariant()
    def keeps_its_word(self) -> None:
        """States alternate, one probe at a time, and an open one always wants or awaits one."""
        assert self.told == [State.OPEN, State.CLOSED] * (len(self.told) // 2) + [State.OPEN] * (
            len(self.told) % 2
        )
        assert self.breaker.state is (self.told or [State.CLOSED])[-1]
        assert self.probes_under_way <= 1
        wait = self.breaker.probe_in_ns()
        wants = self.breaker.state is State.OPEN and not self.probes_under_way
        assert (wait is not None) == wants
        assert wait is None or 0 <= wait <= INTERVAL_NS * 3 // 2

    def teardown(self) -> None:
        """In the end the server is up: the breaker closes within one wait and one probe."""
        self.up = True
        self.answer()
        self.now += self.breaker.probe_in_ns() or 0
        self.probe()
        self.answer()
        assert self.breaker.refusal() is None


def run(examples: int = 200) -> None:
    """Run histories."""
    run_state_machine_as_test(
        History,
        settings=settings(
            max_examples=examples, stateful_step_count=30, deadline=None, database=None,
            phases=(Phase.generate,), derandomize=True,
        ),
    )  # fmt: skip


def test_every_history_keeps_the_laws() -> None:
    """It opens with a failure, closes with an answered probe, and never gets stuck."""
    run()


def never_closing(patch: pytest.MonkeyPatch) -> None:
    """A probe that is answered changes nothing."""
    real = Breaker.probe_ended
    patch.setattr(Breaker, "probe_ended", lambda self, _: real(self, SILENT))


def forgetting_the_probe(patch: pytest.MonkeyPatch) -> None:
    """A failed probe that is never followed by another."""

    def ended(self: Breaker, error: StoreTimeoutError | None) -> None:
        real(self, error)
        self._probing = error is not None

    real = Breaker.probe_ended
    patch.setattr(Breaker, "probe_ended", ended)


def opening_again_and_again(patch: pytest.MonkeyPatch) -> None:
    """Each failure of one outage is told as a new one."""

    def failed(self: Breaker, error: StoreTimeoutError) -> None:
        self.state = State.CLOSED
        real(self, error)

    real = Breaker.failed
    patch.setattr(Breaker, "failed", failed)


@pytest.mark.parametrize("plant", [never_closing, forgetting_the_probe, opening_again_and_again])
def test_a_planted_bug_is_found(plant: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Laws that cannot be broken would prove nothing."""
    assert callable(plant)
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        run(100)
