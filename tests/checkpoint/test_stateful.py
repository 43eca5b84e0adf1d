"""Training, saving, killing and resuming in any order, against a model in memory."""

import tempfile
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

import functional_mlp as fm
from tests.checkpoint import cases
from tests.tables import OPTIMIZERS


class Crash(Exception):  # noqa: N818 - no error, but what a test does
    """Ends a run where it is."""


class Checkpoints(RuleBasedStateMachine):
    """One file, and in `expected` what it must hold: the state and the history of runs without a checkpoint."""

    copies = Bundle("copies")

    @initialize(optimizer=st.sampled_from(OPTIMIZERS), engine=st.sampled_from(["reference", "fused"]))
    def begin(self, optimizer: fm.Optimizer, engine: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "model.safetensors"
        self.settings: dict[str, Any] = {"optimizer": optimizer, "engine": engine, "batch_size": 4}
        self.expected: fm.FitResult | None = None

    def simulate(self, epochs: int) -> fm.FitResult:
        """What a run over some more epochs ends with, in memory."""
        before = self.expected
        start = {} if before is None else {"key": None, "state": before.state}
        after = cases.fit(epochs=epochs, **self.settings, **start)
        if before is None:
            return after
        return fm.FitResult(after.state, fm.History.of([*before.history.records(), *after.history.records()]))

    def checkpoint(self, every: int) -> fm.Checkpoint:
        """The file, where a run may go on with batches of another size."""
        return fm.Checkpoint(self.path, every=every, allow=("batch_size",))

    @property
    def epoch(self) -> int:
        return 0 if self.expected is None else self.expected.state.epoch

    @rule(more=st.integers(0, 3), every=st.integers(1, 3))
    def train(self, more: int, every: int) -> None:
        epochs = max(self.epoch + more, 1)
        result = cases.fit(epochs=epochs, **self.settings, checkpoint=self.checkpoint(every))
        self.expected = self.simulate(epochs)
        cases.assert_same_run(result, self.expected)

    @rule(survived=st.integers(0, 3), every=st.integers(1, 3))
    def crash(self, survived: int, every: int) -> None:
        """A run that dies within an epoch leaves what it saved last."""
        end = self.epoch + survived

        def progress(done: float) -> None:
            if done > end:
                raise Crash

        checkpoint = self.checkpoint(every)
        with pytest.raises(Crash):
            cases.fit(epochs=end + 2, **self.settings, checkpoint=checkpoint, progress=progress)
        last = max((epoch for epoch in range(self.epoch + 1, end + 1) if epoch % every == 0), default=None)
        if last is not None:
            self.expected = self.simulate(last)
        elif self.expected is None:  # the start, which is saved before training
            init_key, train_key = cases.KEY.split()
            params = cases.NETWORK.init(init_key)
            state = fm.TrainState(self.settings["optimizer"].init(params), train_key, 0)
            self.expected = fm.FitResult(state, fm.History())

    @rule(batch_size=st.integers(1, 40))
    def change_batch_size(self, batch_size: int) -> None:
        self.settings["batch_size"] = batch_size

    @rule(engine=st.sampled_from(["reference", "fused"]))
    def change_engine(self, engine: str) -> None:
        self.settings["engine"] = engine

    @precondition(lambda self: self.expected is not None)
    @rule(target=copies)
    def copy(self) -> Any:
        return self.path.read_bytes(), self.expected

    @rule(copy=copies)
    def go_back(self, copy: Any) -> None:
        content, self.expected = copy
        self.path.write_bytes(content)

    @rule()
    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self.expected = None

    @precondition(lambda self: self.expected is not None)
    @rule()
    def save_what_was_loaded(self) -> None:
        saved = fm.load(self.path)
        values = {"network": saved.network, "optimizer": saved.optimizer, "loss": saved.loss, "history": saved.history}
        fm.save(self.path, saved.state, **values)

    @precondition(lambda self: self.expected is not None)
    @rule(data=st.data())
    def damage(self, data: st.DataObject) -> None:
        """A damaged file is refused by load and by fit, and is left as it is."""
        content = self.path.read_bytes()
        place, bit = data.draw(st.integers(0, len(content) - 1)), data.draw(st.integers(0, 7))
        flipped = content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
        self.path.write_bytes(flipped)
        for call in (lambda: fm.load(self.path), lambda: self.train(1, 1)):
            with pytest.raises(fm.CheckpointError):
                call()
        assert self.path.read_bytes() == flipped
        self.path.write_bytes(content)

    @invariant()
    def the_file_holds_what_is_expected(self) -> None:
        if not hasattr(self, "path"):
            return
        assert self.path.exists() == (self.expected is not None)
        assert [path for path in self.path.parent.iterdir() if path != self.path] == []
        if self.expected is not None:
            cases.assert_same_run(fm.load(self.path, network=cases.NETWORK), self.expected)

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestCheckpoints = Checkpoints.TestCase
TestCheckpoints.settings = hypothesis.settings(max_examples=30, stateful_step_count=12)
