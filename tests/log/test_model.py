"""The log beside a model of it, a plain list: any sequence of calls, one total check after each."""

import tempfile
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pellucid.keys import SigningKey
from pellucid.log import Log, leaf_hash, open_checkpoint, root, verify_consistency, verify_inclusion

KEY = SigningKey("credit/log", bytes(range(32)))


class Machine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="pellucid-log-")
        self.url = f"sqlite:///{Path(self.folder.name) / 'log.sqlite'}"
        self.log = Log.create(self.url)
        self.model, self.sizes = [], []

    def teardown(self):
        self.folder.cleanup()

    @rule(leaves=st.lists(st.binary(min_size=1, max_size=20), max_size=5))
    def append(self, leaves):
        with self.log.writing(KEY, "credit") as writer:
            for leaf in leaves:
                assert writer.append(leaf) == len(self.model)
                self.model.append(leaf)
        if leaves:
            self.sizes.append(len(self.model))

    @rule(leaves=st.lists(st.binary(min_size=1, max_size=20), max_size=3))
    def append_and_fail(self, leaves):
        try:
            with self.log.writing(KEY, "credit") as writer:
                for leaf in leaves:
                    writer.append(leaf)
                raise InterruptedError
        except InterruptedError:
            pass

    @rule()
    def reopen(self):
        self.log = Log.open(self.url)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def prove(self, data):
        size = data.draw(st.integers(1, len(self.model)))
        index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
        hashes = [leaf_hash(leaf) for leaf in self.model]
        top = root(hashes[:size])
        verify_inclusion(hashes[index], index, size, self.log.inclusion(index, size), top, where="model")
        proof = self.log.consistency(old, size)
        verify_consistency(old, size, root(hashes[:old]), top, proof, where="model")

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def fold(self, data):
        start = data.draw(st.integers(0, len(self.model)))
        end = data.draw(st.none() | st.integers(start, len(self.model)))
        with self.log.writing(KEY, "credit") as writer:
            assert list(writer.entries(start, end)) == self.model[start:end]

    @invariant()
    def is_the_model(self):
        with self.log.reading() as snapshot:
            hashes = [leaf_hash(leaf) for leaf in self.model]
            assert list(snapshot.entries()) == self.model
            assert (snapshot.size, snapshot.leaf_hashes(), snapshot.root()) == (len(self.model), hashes, root(hashes))
            points = [open_checkpoint(note, KEY.verifier, where="model") for note in snapshot.checkpoints()]
            assert [(point.size, point.root) for point in points] == [(n, root(hashes[:n])) for n in self.sizes]


TestLogIsItsModel = Machine.TestCase
TestLogIsItsModel.settings = settings(
    max_examples=10, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck)
)
