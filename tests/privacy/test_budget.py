"""The ledger: what is admitted, what counts, and that no order of events makes it count less."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import math
import re
from fractions import Fraction
from types import SimpleNamespace

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from pellucid.errors import BadPlan, BudgetExceeded, Unverified
from pellucid.keys import SigningKey
from pellucid.log.entries import Entry, parse, seal_record
from pellucid.privacy import Ledger, Plan, accounting, check_new_budget, ledgers_of, order_for, related
from pellucid.privacy.spending import Budget, divergence_of, sum_up

KEY = SigningKey.generate("ana")
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DELTA = 1e-5


def plan_of(noise: float, epochs: float = 2.0, **more) -> Plan:
    return Plan.of(
        **{
            "noise_multiplier": noise,
            "delta": DELTA,
            "units": 32_000,
            "test": 0.3,
            "batch": 512,
            "epochs": epochs,
            "clip": 1.0,
        }
        | more
    )


BIG, SMALL = plan_of(1.5), plan_of(5.0)  # epsilon near 1.0 and 0.1


class Log:
    """A real log's entries, signed and parsed, without the store."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def add(self, kind: str, **fields) -> None:
        self.entries.append(parse(len(self.entries), seal_record(kind, fields, KEY, NOON)))

    def budget(self, epsilon: float = 3.0, delta: float = DELTA, dataset: str = "applicants", order=None) -> Log:
        self.add("budget", dataset=dataset, epsilon=epsilon, delta=delta, order=order or order_for(epsilon, delta))
        return self

    def reserve(self, name: str, of: Plan, dataset: str = "applicants", **more) -> Log:
        fields = {
            "reservation": name,
            "dataset": dataset,
            "run": f"risk@{name}",
            "plan": of.record(),
            "events": of.events,
            "epsilon": of.epsilon,
            "delta": of.delta,
            "purpose": "credit scoring",
        }
        self.add("reserve", **{**fields, **more})
        return self

    def purpose(self, purpose: str, epsilon: float, dataset: str = "applicants") -> Log:
        order = order_for(epsilon, DELTA)
        self.add("purpose-budget", dataset=dataset, purpose=purpose, epsilon=epsilon, delta=DELTA, order=order)
        return self

    def register(self, name: str, *plans: Plan, dataset: str = "applicants", purpose: str = "credit scoring") -> Log:
        members = [
            {"plan": p.record(), "events": p.events, "epsilon": p.epsilon, "delta": p.delta, "purpose": purpose}
            for p in plans
        ]
        joint = accounting.epsilon([event for p in plans for event in p.events], DELTA)
        self.add("register", registration=name, dataset=dataset, plans=members, epsilon=joint, delta=DELTA)
        return self

    def lineage(self, dataset: str, *parents: str) -> Log:
        self.add("lineage", dataset=dataset, version=1, parents=[{"dataset": p, "version": 1} for p in parents])
        return self

    def settle(self, name: str, status: str, steps: int) -> Log:
        self.add("settle", reservation=name, status=status, steps=steps)
        return self

    def ledger(self, dataset: str = "applicants") -> Ledger:
        return Ledger.fold(self.entries, dataset)


def log() -> Log:
    return Log().budget()


# -- banded runs ------------------------------------------------------------------------------------------------------


def test_a_banded_run_counts_by_turns_and_a_stopped_one_by_the_turns_it_took():
    """Against the fold of plain events that are as dear: 9 steps of 4 bands are three turns."""
    banded = plan_of(6.0, mechanism="banded", bands=4)
    order = order_for(3.0, DELTA)
    for status, taken, steps in (("complete", banded.steps, banded.steps), ("stopped", 9, 9), ("stopped", 8, 8)):
        ledger = log().reserve("a", banded).settle("a", status, taken).ledger()
        assert ledger.runs[0].steps_planned == banded.steps
        turns = [
            {
                "kind": "poisson_gaussian",
                "sample_rate": repr(banded.group_rate),
                "noise_multiplier": "6",
                "count": math.ceil(steps / 4),
            }
        ]
        assert ledger.runs[0].divergence(order) == accounting.rdp(turns, order)


def test_the_ledger_admits_banded_plans_until_the_budget_is_spent():
    banded = plan_of(6.0, mechanism="banded", bands=4)
    book, admitted = log(), 0
    while admitted < 200:
        try:
            book.ledger().admit(banded)
        except BudgetExceeded:
            break
        book.reserve(str(admitted), banded).settle(str(admitted), "complete", banded.steps)
        admitted += 1
    assert 1 < admitted < 200
    assert book.ledger().spent <= 3.0
    order = order_for(3.0, DELTA)
    assert (admitted + 1) * divergence_of(banded.events, banded.steps, order) > Budget(3.0, DELTA, order).cap


# -- the fixed order --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-5), (3.0, 1e-5), (8.0, 1e-6), (20.0, 1e-9)])
def test_order_for_lets_the_largest_composition_of_gaussians_fit(epsilon, delta):
    """Against a search over the orders by what each would admit: steps of the Gaussian mechanism with noise 50."""
    gaussian = [{"kind": "poisson_gaussian", "sample_rate": "1", "noise_multiplier": "50", "count": 1}]

    def admitted(order: float) -> float:
        return Budget(epsilon, delta, order).cap / accounting.rdp(gaussian, order)

    best = order_for(epsilon, delta)
    whole = [order for order in accounting.ORDERS if order.is_integer()]
    assert admitted(best) == pytest.approx(max(map(admitted, whole)), rel=1e-9)


def test_the_cap_converts_back_to_the_budget_and_never_above():
    for epsilon, delta in itertools.product((0.5, 3.0, 8.0), (1e-9, 1e-5)):
        budget = Budget(epsilon, delta, order_for(epsilon, delta))
        assert epsilon - 1e-9 < budget.epsilon_of(budget.cap) < epsilon


@pytest.mark.parametrize(
    ("epsilon", "delta"),
    [
        (0, 1e-5),
        (-1, 1e-5),
        (math.nan, 1e-5),
        (math.inf, 1e-5),
        (True, 1e-5),
        (1, 0),
        (1, 1),
        (1, math.nan),
        (1, 1e-13),
        ("1", 1e-5),
        (1e-6, 1e-9),
    ],
)
def test_a_budget_that_cannot_be_meant_is_refused(epsilon, delta):
    for refuses in (
        lambda: order_for(epsilon, delta),
        lambda: check_new_budget(Ledger("applicants", None), epsilon, delta),
    ):
        with pytest.raises(BadPlan) as caught:
            refuses()
        assert caught.value.where in ("epsilon", "delta")
        assert caught.value.fix, "what to do next"


# -- admission --------------------------------------------------------------------------------------------------------


def test_without_a_budget_nothing_is_admitted():
    with pytest.raises(BudgetExceeded, match="no privacy budget") as caught:
        Log().ledger().admit(SMALL)
    assert caught.value.exit_code == 1
    document = Log().ledger().document()
    assert (document["epsilon"], document["left"], document["spent"], document["runs"]) == (None, None, 0.0, [])


def test_a_first_plan_is_held_to_pld():
    """The plan's own epsilon fits to the last millionth, though its Rényi epsilon at the fixed order does not."""
    ledger = Log().budget(BIG.epsilon).ledger()
    assert ledger.budget.epsilon_of(accounting.rdp(BIG.events, ledger.budget.order)) > BIG.epsilon
    ledger.admit(BIG)
    with pytest.raises(BudgetExceeded):
        Log().budget(BIG.epsilon - 1e-6).ledger().admit(BIG)


def test_after_a_first_plan_held_to_pld_nothing_more_is_admitted_whatever_it_did_not_use():
    for end in ([], [("stopped", 1)], [("complete", BIG.steps)], [("abandoned", 0)]):
        spent = Log().budget(BIG.epsilon).reserve("a", BIG)
        for status, steps in end:
            spent.settle("a", status, steps)
        with pytest.raises(BudgetExceeded):
            spent.ledger().admit(plan_of(200.0, 0.05))


def test_a_run_that_took_no_step_leaves_the_whole_budget():
    ledger = Log().budget(BIG.epsilon).reserve("a", BIG).settle("a", "stopped", 0).ledger()
    assert (ledger.spent, ledger.reserved, ledger.left) == (0.0, 0.0, BIG.epsilon)
    ledger.admit(BIG)


def test_after_the_first_plan_the_renyi_total_at_the_fixed_order_decides():
    """A naive twin: count how many equal plans fit, by hand and by admission."""
    book = Log().budget(1.0)
    order = book.ledger().budget.order
    one = accounting.rdp(SMALL.events, order)
    room = 1.0 - (math.log1p(-1 / order) - math.log(DELTA * order) / (order - 1))
    expected = math.floor(room / one)
    for admitted in range(expected + 1):
        try:
            book.ledger().admit(SMALL)
        except BudgetExceeded:
            break
        book.reserve(str(admitted), SMALL)
    assert 1 < admitted == expected


def test_what_was_admitted_is_within_the_budget_by_the_other_accountant_too():
    book, plans = Log().budget(1.0), itertools.cycle([SMALL, plan_of(8.0, 5)])
    while True:
        try:
            book.ledger().admit(plan := next(plans))
        except BudgetExceeded:
            break
        book.reserve(str(len(book.entries)), plan).settle(str(len(book.entries) - 1), "complete", plan.steps)
    ledger = book.ledger()
    assert len(ledger.runs) > 3
    joint = accounting.epsilon([event for run in ledger.runs for event in run.events], DELTA, "pld")
    assert 0.6 < joint <= 1.0


def test_the_refusal_says_spent_asked_left_and_what_would_fit():
    ledger = Log().budget(1.0).reserve("a", BIG).settle("a", "complete", BIG.steps).reserve("b", SMALL).ledger()
    with pytest.raises(BudgetExceeded) as caught:
        ledger.admit(BIG)
    for part in (
        f"{ledger.spent} spent",
        f"{ledger.reserved} reserved",
        f"{ledger.left} is left of 1.0",
        "adds epsilon",
    ):
        assert part in caught.value.what
    assert caught.value.where == "applicants"


def test_what_is_said_to_fit_does_fit():
    ledger = Log().budget(1.5).reserve("a", BIG).settle("a", "complete", BIG.steps).ledger()
    asked = plan_of(1.5, 20)
    with pytest.raises(BudgetExceeded) as caught:
        ledger.admit(asked)
    noise, steps = map(float, re.match(r"a noise multiplier of (\S+) fits, or (\d+) of", caught.value.fix).groups())
    ledger.admit(plan_of(noise, 20))
    shorter = plan_of(1.5, steps / asked.steps * 20 - 1e-9)
    assert shorter.steps == steps < asked.steps
    ledger.admit(shorter)
    with pytest.raises(BudgetExceeded):
        ledger.admit(plan_of(noise - 0.01, 20))
    with pytest.raises(BudgetExceeded):
        ledger.admit(plan_of(1.5, (steps + 1) / asked.steps * 20 - 1e-9))


def test_a_plan_of_which_not_one_step_fits_is_told_so():
    ledger = Log().budget(BIG.epsilon).reserve("a", BIG).ledger()
    with pytest.raises(BudgetExceeded, match="adds epsilon") as caught:
        ledger.admit(SMALL)
    assert "not one step" in caught.value.fix


def test_two_open_reservations_count_together():
    both = log().reserve("a", BIG).reserve("b", BIG).ledger()
    one = log().reserve("a", BIG).ledger()
    assert both.spent == one.spent == 0.0
    assert both.reserved > one.reserved > 0
    assert both.left < one.left < 3.0


# -- what counts ------------------------------------------------------------------------------------------------------


def test_steps_not_taken_go_back_to_the_filter_and_an_abandoned_run_counts_whole():
    def left(status: str, steps: int) -> float:
        return log().reserve("a", BIG).reserve("b", BIG).settle("a", status, steps).ledger().left

    whole = log().reserve("a", BIG).reserve("b", BIG).ledger().left
    assert left("complete", BIG.steps) == left("abandoned", BIG.steps) == left("abandoned", 0) == whole
    assert left("complete", 3) == whole  # a contradiction counts whole
    rising = [left("stopped", steps) for steps in (BIG.steps, 50, 5, 0)]
    assert rising == sorted(rising)
    assert rising[0] == whole < rising[1] < rising[-1]


def test_the_claim_of_a_stopped_run_stays_that_of_its_plan():
    (run,) = log().reserve("a", BIG).settle("a", "stopped", 3).ledger().document()["runs"]
    assert (run["epsilon"], run["steps"], run["steps_planned"], run["status"]) == (BIG.epsilon, 3, BIG.steps, "stopped")


def test_settling_twice_counts_the_most():
    def ledger(*ends: tuple[str, int]) -> Ledger:
        book = log().reserve("b", SMALL).reserve("a", BIG)
        for end in ends:
            book.settle("a", *end)
        return book.ledger()

    for ends in itertools.permutations([("stopped", 5), ("stopped", 30)]):
        assert ledger(*ends).spent == ledger(("stopped", 30)).spent
    for ends in itertools.permutations([("stopped", 5), ("abandoned", 0)]):
        assert ledger(*ends).spent == ledger(("abandoned", 0)).spent
        assert ledger(*ends).runs[1].status == "abandoned"


def test_a_single_run_is_reported_at_its_own_claim_and_two_at_their_joint_renyi():
    one = log().reserve("a", BIG).settle("a", "complete", BIG.steps).ledger()
    assert one.spent == BIG.epsilon
    two = log().reserve("a", BIG).reserve("b", SMALL).ledger()
    joint = accounting.rdp([*BIG.events, *SMALL.events], two.budget.order)
    assert two.reserved == pytest.approx(two.budget.epsilon_of(joint), abs=2e-6)
    assert two.reserved >= two.budget.epsilon_of(joint)


def test_a_claim_at_a_larger_delta_is_recomputed_at_the_budgets():
    loose = plan_of(1.5, delta=2e-5)
    ledger = Log().budget(3.0, 1e-6).reserve("a", loose).ledger()
    assert ledger.reserved == accounting.epsilon(loose.events, 1e-6) > loose.epsilon


def test_other_datasets_and_other_entries_are_left_alone():
    book = log().budget(1.0, dataset="patients").reserve("x", BIG, dataset="patients").settle("x", "stopped", 3)
    book.add("adopt", what="policies/access.cedar", sha256="0" * 64)
    assert book.ledger().runs == ()
    assert book.ledger("patients").runs[0].steps_taken == 3
    assert book.ledger("nobody").budget is None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([BIG, SMALL]),
            st.sampled_from(["reserved", "complete", "stopped", "abandoned"]),
            st.integers(0, 88),
        ),
        max_size=6,
    )
)
def test_the_parts_add_up_and_no_admitted_history_exceeds_the_budget(history):
    book, admitted = Log().budget(1.3), 0
    for place, (plan, status, steps) in enumerate(history):
        before = book.ledger()
        try:
            before.admit(plan)
        except BudgetExceeded:
            continue
        book.reserve(str(place), plan)
        admitted += 1
        assert book.ledger().left <= before.left
        if status != "reserved":
            held = book.ledger()
            book.settle(str(place), status, steps)
            assert book.ledger().left >= held.left
    ledger = book.ledger()
    assert len(ledger.runs) == admitted
    assert 0 <= ledger.left <= 1.3
    assert ledger.spent + ledger.reserved <= 1.3 + 1e-6
    assert ledger.spent + ledger.reserved + ledger.left == pytest.approx(1.3, abs=2e-6)
    document = ledger.document()
    assert json.loads(rfc8785.dumps(document)) == document


@given(st.lists(st.floats(0, 10), max_size=20), st.floats(5e-324, 1e-12))
def test_sums_are_rounded_up_and_no_spending_is_too_small_to_count(divergences, tiny):
    total = sum_up(divergences)
    assert Fraction(total) >= sum(map(Fraction, divergences), Fraction(0))
    assert sum_up([total, tiny]) > total or total == 0
    assert sum_up([*divergences, tiny]) >= total


def test_the_first_steps_of_several_events_are_counted_in_order():
    a, b = BIG.events[0], SMALL.events[0]
    whole = divergence_of([a, b], a["count"] + b["count"], 8.0)
    assert whole == pytest.approx(accounting.rdp([a, b], 8.0), rel=1e-12)
    assert divergence_of([a, b], a["count"], 8.0) == accounting.rdp([a], 8.0)
    assert divergence_of([a, b], a["count"] + 3, 8.0) == accounting.rdp([a, {**b, "count": 3}], 8.0)
    assert divergence_of([a, b], 0, 8.0) == 0.0


# -- changing the budget ----------------------------------------------------------------------------------------------


def test_lowering_a_budget_below_what_is_spent_is_refused():
    ledger = log().reserve("a", BIG).reserve("b", BIG).settle("a", "complete", BIG.steps).ledger()
    used = ledger.spent + ledger.reserved
    check_new_budget(ledger, used + 0.01, DELTA, units=32_000)
    check_new_budget(ledger, 8.0, DELTA, units=32_000)
    for epsilon, delta in ((used - 0.01, DELTA), (used, DELTA / 100)):
        with pytest.raises(BadPlan, match="already") as caught:
            check_new_budget(ledger, epsilon, delta, units=32_000)
        assert caught.value.where == "epsilon"


def test_the_same_budget_may_be_set_again_even_if_one_plan_filled_it():
    check_new_budget(Log().budget(BIG.epsilon).reserve("a", BIG).ledger(), BIG.epsilon, DELTA)


def test_a_delta_that_could_give_a_person_away_is_refused():
    with pytest.raises(BadPlan, match="1/1000") as caught:
        check_new_budget(Ledger("applicants", None), 3.0, 1e-3, units=1000)
    assert caught.value.fix == "a tenth of that or less, such as 0.0001"
    check_new_budget(Ledger("applicants", None), 3.0, 1e-4, units=1000)


def test_the_order_is_fixed_by_the_first_reservation():
    before = Log().budget(3.0).budget(8.0).ledger()
    assert before.budget.order == order_for(8.0, DELTA) != order_for(3.0, DELTA)
    after = Log().budget(3.0).reserve("a", BIG).budget(8.0).ledger()
    assert (after.budget.epsilon, after.budget.order) == (8.0, order_for(3.0, DELTA))


def test_no_later_budget_chooses_another_order_after_anything_was_reserved_of_anybody_in_the_data():
    """Neither that of a purpose, nor that of data made of it: whoever could, would have seen what was released."""
    fixed, tempting = order_for(3.0, DELTA), order_for(8.0, DELTA)
    book = Log().budget(3.0).reserve("a", BIG).purpose("marketing", 8.0).lineage("new", "applicants")
    book.budget(8.0, dataset="new")
    purpose = Ledger.fold(book.entries, "applicants", "marketing")
    assert purpose.budget.order == book.ledger("new").budget.order == fixed != tempting
    assert purpose.order == book.ledger("new").order == fixed
    # one that was there before keeps its own, and so does data that is nobody's kin
    book = (
        Log().budget(3.0).purpose("marketing", 8.0).budget(8.0, dataset="z").reserve("a", BIG).purpose("marketing", 3.0)
    )
    assert Ledger.fold(book.entries, "applicants", "marketing").budget.order == tempting
    assert book.reserve("z", BIG, dataset="z").ledger("z").budget.order == tempting


def test_a_budget_is_checked_at_the_order_that_it_will_have():
    book = log().reserve("a", BIG, purpose="marketing")
    ledger = Ledger.fold(book.entries, "applicants", "marketing")
    for tenth in range(3, 30):
        try:
            check_new_budget(ledger, tenth / 10, DELTA)
        except BadPlan:
            continue
        after = Ledger.fold(book.purpose("marketing", tenth / 10).entries, "applicants", "marketing")
        assert after.budget.order == log().ledger().budget.order
        assert after.reserved <= after.budget.epsilon
        break
    else:
        pytest.fail("no budget fits")


# -- a log that cannot be ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: Log().reserve("a", BIG),
        lambda: log().reserve("a", BIG).reserve("a", BIG),
        lambda: log().reserve("a", BIG, dataset="patients").reserve("a", BIG),
        lambda: log().settle("a", "stopped", 0),
        lambda: log().reserve("a", BIG).settle("a", "stopped", BIG.steps + 1),
        lambda: log().reserve("a", BIG).settle("a", "stopped", -1),
        lambda: log().reserve("a", BIG).settle("a", "stopped", None),
        lambda: log().reserve("a", BIG).settle("a", "reserved", 0),
        lambda: log().reserve("a", BIG, events=SMALL.events),
        lambda: log().reserve("a", BIG, events=[]),
        lambda: log().reserve("a", BIG, epsilon=0.5),
        lambda: log().reserve("a", BIG, plan=None, epsilon=-1),
        lambda: log().reserve("a", BIG, plan={**BIG.record(), "clip": 0}),
        lambda: Log().budget(3.0, order=1.0),
        lambda: Log().budget(3.0, order="8"),
        lambda: Log().budget(-3.0, order=8.0),
        lambda: Log().budget(3.0, delta=0, order=8.0),
    ],
)
def test_a_ledger_that_cannot_be_is_refused_and_its_entry_named(spoil):
    book = spoil()
    with pytest.raises(Unverified) as caught:
        book.ledger()
    assert caught.value.where.startswith(f"log entry {len(book.entries) - 1}")


def test_a_release_without_a_plan_counts_by_its_events():
    book = log().reserve("a", BIG, plan=None)
    assert book.ledger().reserved == log().reserve("a", BIG).ledger().reserved


# -- pre-registered sets ----------------------------------------------------------------------------------------------

THREE = (plan_of(3.0), plan_of(4.0), plan_of(2.0))


def joint(*plans: Plan, delta: float = DELTA) -> float:
    return accounting.epsilon([event for p in plans for event in p.events], delta)


def test_a_registered_set_is_held_to_its_joint_pld():
    """It fits to the last millionth, though its Rényi total does not."""
    cap = joint(*THREE)
    ledger = Log().budget(cap).ledger()
    assert ledger.budget.epsilon_of(sum(accounting.rdp(p.events, ledger.budget.order) for p in THREE)) > cap
    ledger.admit_together(THREE)
    with pytest.raises(BudgetExceeded, match="3 plans together"):
        Log().budget(cap - 1e-6).ledger().admit_together(THREE)


def test_after_anything_was_released_a_set_is_held_to_renyi():
    book = Log().budget(joint(*THREE) + 0.02).reserve("a", SMALL)
    with pytest.raises(BudgetExceeded):
        book.ledger().admit_together(THREE)
    Log().budget(9.0).reserve("a", SMALL).ledger().admit_together(THREE)


def test_members_of_a_set_are_taken_up_in_any_order_once_each_and_cost_no_more():
    book = Log().budget(joint(*THREE)).register("s", *THREE)
    before = book.ledger()
    assert (before.spent, before.reserved, before.left) == (0.0, joint(*THREE), 0.0)
    assert [run.status for run in before.runs] == ["registered"] * 3
    for place, plan in enumerate(reversed(THREE)):
        book.ledger().admit(plan, "credit scoring")
        book.reserve(str(place), plan).settle(str(place), "complete", plan.steps)
    after = book.ledger()
    assert [run.status for run in after.runs] == ["complete"] * 3
    assert (after.spent, after.reserved, after.left) == (joint(*THREE), 0.0, 0.0)
    with pytest.raises(BudgetExceeded):
        after.admit(THREE[0], "credit scoring")


def test_a_member_is_that_very_plan_for_that_very_purpose():
    ledger = Log().budget(joint(*THREE)).register("s", *THREE).ledger()
    for plan, purpose in ((plan_of(3.0, clip=2.0), "credit scoring"), (THREE[0], "marketing"), (THREE[0], None)):
        with pytest.raises(BudgetExceeded):
            ledger.admit(plan, purpose)


def test_a_set_gives_nothing_back_whatever_its_members_did_not_use():
    book = Log().budget(joint(*THREE)).register("s", *THREE).reserve("a", THREE[0])
    for status, steps in (("stopped", 0), ("stopped", 1)):
        ledger = Log().budget(joint(*THREE)).register("s", *THREE).reserve("a", THREE[0]).settle("a", status, steps)
        assert ledger.ledger().left == book.ledger().left == 0.0
        with pytest.raises(BudgetExceeded):
            ledger.ledger().admit(SMALL)


def test_after_a_set_only_what_fits_renyi_beside_it_is_admitted():
    """A naive twin: the Rényi sum of the whole set and of what came after."""
    book = Log().budget(2.0).register("s", *THREE)
    ledger = book.ledger()
    order, cap = ledger.budget.order, ledger.budget.cap
    total = sum(accounting.rdp(p.events, order) for p in THREE)
    for noise in (3.0, 6.0, 9.0, 30.0):
        plan = plan_of(noise)
        fits = total + accounting.rdp(plan.events, order) <= cap
        try:
            ledger.admit(plan, "credit scoring")
            assert fits or plan == THREE[0]
        except BudgetExceeded:
            assert not fits


def test_a_set_no_accountant_can_compose_is_refused_and_says_so():
    cut = {"kind": "truncated_poisson_gaussian", "sample_rate": "0.1", "noise_multiplier": "2", "count": 1}
    best = {"kind": "repeat_and_select", "mean": "3", "shape": "0", "count": 1}
    inner = {"kind": "gaussian", "noise_multiplier": "9", "count": 1}
    odd = SimpleNamespace(
        epsilon=1.0,
        delta=DELTA,
        steps=2,
        events=[{**cut, "units": 100, "most": 5}, {**best, "events": [inner]}],
        record=lambda: {"mechanism": "odd"},
    )
    with pytest.raises(Unverified, match="no accountant"):
        log().ledger().admit(odd)


def test_what_only_pld_can_account_is_admitted_first_and_then_nothing_more_and_it_is_said_why():
    event = {"kind": "truncated_poisson_gaussian", "sample_rate": "0.02", "noise_multiplier": "2", "units": 32000}
    events = [{**event, "most": 700, "count": 80}]
    epsilon = accounting.epsilon(events, DELTA)
    book = Log().budget(3.0).reserve("a", SMALL, plan=None, events=events, epsilon=epsilon)
    assert book.ledger().reserved == epsilon
    with pytest.raises(BudgetExceeded, match="no finite Rényi") as caught:
        book.ledger().admit(SMALL)
    assert "register" in caught.value.fix


# -- purposes ---------------------------------------------------------------------------------------------------------


def test_a_purpose_with_a_budget_has_a_ledger_of_its_own_within_the_whole():
    book = log().purpose("marketing", 0.5)
    book.reserve("a", SMALL, purpose="marketing").reserve("b", BIG)
    whole, marketing = ledgers_of(book.entries, "applicants", "marketing")
    assert [run.reservation for run in whole.runs] == ["a", "b"]
    assert [run.reservation for run in marketing.runs] == ["a"]
    assert marketing.budget.epsilon == 0.5
    assert marketing.reserved == SMALL.epsilon
    assert [ledger.purpose for ledger in ledgers_of(book.entries, "applicants", "credit scoring")] == [None]
    with pytest.raises(BudgetExceeded, match="adds epsilon") as caught:
        marketing.admit(BIG, "marketing")
    assert caught.value.where == 'applicants, purpose "marketing"'
    whole.admit(BIG, "marketing")


def test_spending_before_a_purpose_had_a_budget_counts_in_it():
    book = log().reserve("a", BIG, purpose="marketing").purpose("marketing", 2.0)
    assert Ledger.fold(book.entries, "applicants", "marketing").reserved == BIG.epsilon


def test_a_run_reserved_before_there_was_a_budget_gives_nothing_back():
    book = log().reserve("a", BIG, purpose="marketing").purpose("marketing", 2.0).settle("a", "stopped", 1)
    assert Ledger.fold(book.entries, "applicants", "marketing").spent == BIG.epsilon


# -- data sets that share people --------------------------------------------------------------------------------------


def test_data_made_of_other_data_inherits_what_was_spent_on_it_and_spends_for_it():
    book = Log().budget(3.0, dataset="old").reserve("a", BIG, dataset="old").budget(3.0, dataset="new")
    assert book.ledger("new").runs == ()
    book.lineage("new", "old").reserve("b", SMALL, dataset="new")
    for name in ("old", "new"):
        assert [run.reservation for run in book.ledger(name).runs] == ["a", "b"]
    assert [run.dataset for run in book.ledger("new").runs] == ["old", "new"]


def test_a_merge_counts_all_it_was_made_of_and_its_sources_stay_apart():
    """m is made of a and b, and n of m; c is made of b; z is nobody's kin."""
    book = Log()
    for name in ("a", "b", "c", "m", "n", "z"):
        book.budget(9.0, dataset=name)
    book.lineage("m", "a", "b").lineage("n", "m").lineage("c", "b")
    for name in ("a", "b", "c", "m", "n", "z"):
        book.reserve(f"on {name}", SMALL, dataset=name)
    counted = {name: {run.dataset for run in book.ledger(name).runs} for name in ("a", "b", "c", "m", "n", "z")}
    assert counted == {
        "a": {"a", "m", "n"},
        "b": {"b", "c", "m", "n"},
        "c": {"b", "c", "m", "n"},
        "m": {"a", "b", "c", "m", "n"},
        "n": {"a", "b", "c", "m", "n"},
        "z": {"z"},
    }
    assert {ledger.name for ledger in ledgers_of(book.entries, "a", "x")} == {"a", "m", "n"}


def test_a_circle_of_lineage_ends():
    book = Log().budget(9.0, dataset="a").budget(9.0, dataset="b").lineage("a", "b").lineage("b", "a")
    assert related(book.entries, "a") == related(book.entries, "b") == {"a", "b"}


def test_a_plan_has_to_fit_every_ledger_it_counts_in():
    book = Log().budget(8.0, dataset="new").budget(0.5, dataset="old").lineage("new", "old")
    new, old = ledgers_of(book.entries, "new", "x")
    new.admit(BIG)
    with pytest.raises(BudgetExceeded) as caught:
        old.admit(BIG)
    assert caught.value.where == "old"


# -- alerts -----------------------------------------------------------------------------------------------------------


def test_alerts_are_the_largest_share_that_is_reached():
    def at(epsilon: float) -> float | None:
        return Log().budget(epsilon).reserve("a", BIG).ledger().alert

    assert [at(BIG.epsilon * times) for times in (3.0, 1.9, 1.2, 1.02, 1.0)] == [None, 0.5, 0.8, 0.95, 0.95]
    assert Log().ledger().alert is None
    assert log().ledger().alert is None
