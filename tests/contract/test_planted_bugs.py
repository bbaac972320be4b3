"""The twins: a bug planted into the memory store, and the check that must find it.

A check that finds nothing proves nothing unless it could have found something.
"""

import pytest

from ratelimitd.clock import Clock
from ratelimitd.stores.memory.counters import MemoryCounters
from ratelimitd.stores.ports import Store
from tests.contract import lease_plants, plants
from tests.contract.plants import Plant
from tests.contract.scenarios import HELD, SCENARIOS, SLIDING, Scenario
from tests.contract.store_contract import CHECKS, bounds, charging, held, holding, reports, waits
from tests.contract.test_scenarios import assert_table_holds
from tests.support.bench import Bench, Check


async def make(clock: Clock, room: int) -> Store:
    """Open a memory store, planted or not."""
    return MemoryCounters(clock, room)


PLANTED: tuple[tuple[Plant, Check], ...] = (
    (plants.charging_what_passes_in_a_denied_call, charging.all_or_nothing),
    (plants.charging_what_passes_in_a_denied_call, charging.charges_on_one_counter_add_up),
    (plants.charging_what_passes_in_a_denied_call, charging.a_denied_call_charges_no_shadow_limit),
    (plants.charging_what_passes_in_a_denied_call, held.a_denied_call_holds_nothing),
    (plants.charging_peeks, charging.a_peek_changes_nothing),
    (plants.ignoring_prior, charging.charges_on_one_counter_add_up),
    (plants.ignoring_prior, charging.charges_of_one_call_that_can_never_fit_never_will),
    (plants.telling_a_retry_one_too_soon, waits.a_denied_call_passes_at_its_retry_and_not_before),
    (plants.telling_a_retry_one_too_late, waits.a_denied_call_passes_at_its_retry_and_not_before),
    (plants.telling_a_retry_one_too_soon, waits.a_whole_call_passes_at_the_last_of_its_retries),
    (plants.telling_a_retry_one_too_late, waits.a_whole_call_passes_at_the_last_of_its_retries),
    (plants.telling_a_reset_one_too_soon, waits.a_limit_is_whole_at_its_reset_and_not_before),
    (plants.telling_a_reset_one_too_late, waits.a_limit_is_whole_at_its_reset_and_not_before),
    (plants.telling_a_wait_to_what_never_fits, waits.more_than_a_limit_holds_never_fits),
    (plants.telling_a_wait_to_what_never_fits, charging.absurd_hits_are_a_denial_or_saturate),
    (
        plants.telling_a_denied_call_what_it_would_have_left,
        charging.what_would_have_passed_is_told_as_not_charged,
    ),
    (plants.allowing_one_too_many, charging.a_denial_charges_nothing),
    (plants.allowing_one_too_many, charging.an_amount_of_nothing_denies_everything),
    (plants.refunding_below_nothing, reports.a_refund_does_not_go_below_nothing),
    (plants.refunding_the_last_window, reports.a_refund_is_of_the_current_window_only),
    (plants.keeping_for_ever, reports.a_refund_is_of_the_current_window_only),
    (plants.forgetting_to_saturate, charging.counts_saturate),
    (plants.denying_by_shadow_limits, charging.a_shadow_limit_never_denies),
    (plants.dropping_reports_of_denied_calls, reports.a_report_is_always_applied),
    (plants.dropping_reports_of_denied_calls, reports.a_refund_gives_back),
    (plants.dropping_reports_of_denied_calls, reports.a_release_is_done_in_a_denied_call),
    (plants.counting_all_callers_together, charging.counters_of_other_callers_and_limits_are_apart),
    (lease_plants.giving_back_any_lease, held.a_lease_is_given_back_once),
    (lease_plants.giving_back_any_lease, held.an_unknown_lease_gives_nothing_back),
    (lease_plants.giving_back_any_lease, held.each_lease_has_its_own_end),
    (lease_plants.holding_leases_one_too_long, held.a_lease_expires_exactly_at_its_end),
    (lease_plants.renewing_what_is_not_held, held.what_is_not_held_is_not_renewed),
    (lease_plants.renewing_for_nothing, held.a_renewed_lease_lives_anew),
    (lease_plants.renewing_for_nothing, held.the_last_of_those_held_says_when_all_are_free),
    (lease_plants.renewing_for_nothing, bounds.leases_of_newcomers_are_renewed_where_they_are_held),
    (
        lease_plants.ending_leases_in_the_order_of_their_beginning,
        held.a_lease_keeps_its_time_when_the_policy_changes,
    ),
    (
        plants.charging_what_passes_in_a_denied_call,
        held.whatever_denies_a_call_it_holds_and_charges_nothing,
    ),
    (plants.charging_peeks, held.whatever_denies_a_call_it_holds_and_charges_nothing),
    (plants.denying_by_shadow_limits, held.a_watched_lease_is_held_where_it_fits),
    (lease_plants.giving_back_any_lease, held.a_release_tells_whether_it_gave_anything_back),
    (lease_plants.telling_what_has_ended, holding.a_counter_tells_what_it_holds),
    (lease_plants.telling_in_any_order, holding.a_counter_tells_what_it_holds),
    (lease_plants.telling_all, holding.a_crowd_that_is_held_is_told_in_part),
    (lease_plants.telling_of_the_shared_counter, holding.a_shared_counter_tells_nobodys_leases),
    (
        lease_plants.naming_all_as_the_call_does,
        holding.a_calls_lease_is_of_those_that_name_none,
    ),
    (lease_plants.forgetting_ids, reports.what_has_a_lasting_id_is_told_once),
    (lease_plants.forgetting_ids, reports.a_lasting_id_lasts),
    (
        lease_plants.refunding_into_later_windows,
        reports.a_refund_of_a_past_charge_does_not_reach_into_the_present,
    ),
    (
        lease_plants.refunding_into_later_windows,
        reports.a_sliding_window_gives_back_what_still_weighs,
    ),
    (plants.never_running_out_of_room, bounds.newcomers_share_one_counter_when_room_is_out),
    (plants.never_running_out_of_room, bounds.leases_of_newcomers_share_one_counter),
    (
        plants.judging_before_what_has_happened,
        reports.what_is_asked_beside_a_report_is_judged_on_what_it_leaves,
    ),
    (
        plants.judging_before_what_has_happened,
        reports.a_peek_tells_what_the_reports_of_its_call_leave,
    ),
    (
        plants.judging_before_what_has_happened,
        reports.what_is_given_back_makes_room_in_the_same_call,
    ),
    (
        plants.judging_newcomers_of_one_call_alone,
        bounds.newcomers_of_one_call_share_one_counter_too,
    ),
    (
        plants.sharing_one_overflow,
        bounds.who_crowds_a_counter_of_its_own_leaves_the_shared_one_alone,
    ),
    (plants.evicting_for_newcomers, bounds.a_live_counter_is_never_evicted),
    (
        plants.counting_regulars_anew_in_each_window,
        bounds.room_is_bounded_while_counters_stay_alive,
    ),
    (plants.inventing_counters_by_refunds, bounds.an_invented_refund_takes_no_room),
    (
        lease_plants.giving_back_only_from_ones_own,
        bounds.a_shared_lease_is_given_back_when_there_is_room_again,
    ),
    (plants.forgetting_too_soon, bounds.others_do_not_make_a_counter_forgotten),
    (plants.forgetting_the_young_with_the_old, bounds.others_do_not_make_a_counter_forgotten),
    (plants.keeping_for_ever, bounds.every_counter_vanishes),
    (plants.keeping_for_ever, bounds.there_is_room_again_when_counters_have_gone),
)


@pytest.mark.parametrize(
    ("plant", "check"),
    PLANTED,
    ids=[f"{plant.__name__}-{check.__name__}" for plant, check in PLANTED],
)
async def test_a_planted_bug_is_found(
    monkeypatch: pytest.MonkeyPatch, plant: Plant, check: Check
) -> None:
    """The check fails under its bug, and holds without it."""
    await check(await Bench.open(make))
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        await check(await Bench.open(make))


TABLES: tuple[tuple[Plant, Scenario], ...] = (
    *(
        (plant, scenarios[0])
        for name, scenarios in SCENARIOS.items()
        if name != "lease"
        for plant in (
            plants.telling_a_retry_one_too_soon,
            plants.telling_a_reset_one_too_late,
            plants.allowing_one_too_many,
            plants.charging_peeks,
        )
    ),
    (plants.refunding_the_last_window, SLIDING),
    (lease_plants.holding_leases_one_too_long, HELD),
    (lease_plants.giving_back_any_lease, HELD),
)


@pytest.mark.parametrize(
    ("plant", "scenario"),
    TABLES,
    ids=[f"{plant.__name__}-{scenario.limit.name}" for plant, scenario in TABLES],
)
async def test_a_planted_bug_breaks_a_table(
    monkeypatch: pytest.MonkeyPatch, plant: Plant, scenario: Scenario
) -> None:
    """The scenario tables see it too."""
    plant(monkeypatch)
    with pytest.raises(AssertionError):
        await assert_table_holds(await Bench.open(make), scenario)


def test_most_promises_have_a_twin() -> None:
    """What no plant breaks is told by a neighbour that one does."""
    assert len({check for _, check in PLANTED}) * 2 > len(CHECKS)
