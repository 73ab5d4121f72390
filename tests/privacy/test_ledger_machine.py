"""The ledger against the truth: in whatever order things are reserved, settled or killed, it never counts less.

The truth is kept beside it: for every reservation, the mechanisms that really ran, whether or not anybody wrote that
down. The ledger sees the log alone.
"""

from __future__ import annotations

import datetime as dt

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from pellucid.errors import BadPlan, BudgetExceeded
from pellucid.keys import SigningKey
from pellucid.log.entries import parse, seal_record
from pellucid.privacy import Ledger, Plan, accounting, check_new_budget, ledgers_of, order_for
from pellucid.privacy.spending import divergence_of

KEY = SigningKey.generate("ana")
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
DELTA = 1e-5
PURPOSES = ("credit scoring", "marketing")
DATASETS = ("old", "new")  # new is made of old


def plan_of(noise: float) -> Plan:
    numbers = {"delta": DELTA, "units": 32_000, "test": 0.3, "batch": 512, "epochs": 1.0, "clip": 1.0}
    return Plan.of(noise_multiplier=noise, **numbers)


PLANS = [plan_of(noise) for noise in (1.0, 1.2, 1.5, 2.5, 8.0)]


class LedgerMachine(RuleBasedStateMachine):
    plans = st.sampled_from(PLANS)
    purposes = st.sampled_from(PURPOSES)
    datasets = st.sampled_from(DATASETS)
    shares = st.sampled_from([0.0, 0.03, 0.5, 1.0, 1.0])
    endings = st.sampled_from(["goes on", "settled", "killed", "found dead"])

    @initialize(epsilon=st.sampled_from([1.0, 2.0, 4.0]), marketing=st.sampled_from([None, 0.7, 1.5]))
    def begin(self, epsilon, marketing):
        self.entries = []
        self.truth: dict[str, tuple[Plan, str, int]] = {}  # what really ran: plan, purpose and steps
        self.open: set[str] = set()
        for dataset in DATASETS:
            self.budget(dataset, epsilon)
        self.add("lineage", dataset="new", version=1, parents=[{"dataset": "old", "version": 1}])
        if marketing is not None:
            order = order_for(marketing, DELTA)
            self.add("purpose-budget", dataset="old", purpose="marketing", epsilon=marketing, delta=DELTA, order=order)

    def add(self, kind, **fields):
        self.entries.append(parse(len(self.entries), seal_record(kind, fields, KEY, NOON)))

    def budget(self, dataset, epsilon):
        self.add("budget", dataset=dataset, epsilon=epsilon, delta=DELTA, order=order_for(epsilon, DELTA))

    @rule(plan=plans, purpose=purposes, dataset=datasets, share=shares, ending=endings)
    def run(self, plan, purpose, dataset, share, ending):
        """Reserve, take some steps that nobody writes down, and end in one way or another, or go on."""
        for ledger in ledgers_of(self.entries, dataset, purpose):
            try:
                ledger.admit(plan, purpose)
            except BudgetExceeded:
                return
        name = f"r{len(self.entries)}"
        claim = {"plan": plan.record(), "events": plan.events, "epsilon": plan.epsilon, "delta": plan.delta}
        self.add("reserve", reservation=name, dataset=dataset, run=f"m@{name}", purpose=purpose, **claim)
        self.truth[name] = (plan, purpose, int(share * plan.steps))
        self.end(name, ending)

    @precondition(lambda self: self.open)
    @rule(share=shares, ending=endings, data=st.data())
    def go_on(self, share, ending, data):
        name = data.draw(st.sampled_from(sorted(self.open)))
        plan, purpose, steps = self.truth[name]
        self.truth[name] = (plan, purpose, max(steps, int(share * plan.steps)))
        self.end(name, ending)

    def end(self, name, ending):
        plan, _, steps = self.truth[name]
        if ending == "settled":
            self.add("settle", reservation=name, status="complete" if steps == plan.steps else "stopped", steps=steps)
        elif ending == "found dead":
            self.add("settle", reservation=name, status="abandoned", steps=plan.steps)
        (self.open.add if ending == "goes on" else self.open.discard)(name)

    @rule(chosen=st.lists(plans, min_size=1, max_size=3), purpose=purposes, dataset=datasets)
    def register(self, chosen, purpose, dataset):
        for ledger in ledgers_of(self.entries, dataset, purpose):
            try:
                ledger.admit_together(chosen)
            except BudgetExceeded:
                return
        members = [
            {"plan": p.record(), "events": p.events, "epsilon": p.epsilon, "delta": p.delta, "purpose": purpose}
            for p in chosen
        ]
        joint = accounting.epsilon([event for p in chosen for event in p.events], DELTA)
        name = f"s{len(self.entries)}"
        self.add("register", registration=name, dataset=dataset, plans=members, epsilon=joint, delta=DELTA)

    @rule(epsilon=st.floats(0.3, 6), dataset=datasets)
    def edit(self, epsilon, dataset):
        """A steward changes the budget while runs go on."""
        try:
            check_new_budget(Ledger.fold(self.entries, dataset), epsilon, DELTA, units=32_000)
        except BadPlan:
            return
        self.budget(dataset, epsilon)

    def taken(self, purpose=None):
        return [(plan, steps) for plan, of, steps in self.truth.values() if steps and purpose in (None, of)]

    @invariant()
    def the_ledger_counts_at_least_the_truth(self):
        for dataset in DATASETS:
            ledger = Ledger.fold(self.entries, dataset)
            order = ledger.budget.order
            truth = sum(divergence_of(plan.events, steps, order) for plan, steps in self.taken())
            assert ledger.divergence() >= truth * (1 - 1e-9)

    @invariant()
    def nobody_loses_more_than_the_budget(self):
        """By the other accountant: the joint PLD of what really ran."""
        for dataset in DATASETS:
            ledger = Ledger.fold(self.entries, dataset)
            assert self.joint(self.taken()) <= ledger.budget.epsilon + 1e-6
        marketing = Ledger.fold(self.entries, "old", "marketing")
        if marketing.budget is not None:
            assert self.joint(self.taken("marketing")) <= marketing.budget.epsilon + 1e-6

    @staticmethod
    def joint(taken):
        events = [{**plan.events[0], "count": steps} for plan, steps in taken]
        return accounting.epsilon(events, DELTA) if events else 0.0

    @invariant()
    def the_parts_add_up(self):
        for dataset in DATASETS:
            ledger = Ledger.fold(self.entries, dataset)
            assert ledger.spent >= 0
            assert ledger.reserved >= -1e-9
            assert 0 <= ledger.left <= ledger.budget.epsilon


LedgerMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestLedger = LedgerMachine.TestCase
