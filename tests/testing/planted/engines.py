"""Mistakes of an engine: the reference, changed on its way out."""

from collections.abc import Callable
from typing import Any

import attrs
import torch

import functional_mlp as fm
from functional_mlp.testing.engines.cases import Engine, Outcome, TrainingRun
from functional_mlp.testing.engines.check import compare
from tests.testing.planted.table import planted

NETWORK = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
SAMPLES = 20


@attrs.frozen(eq=False)
class WrongRun(TrainingRun):
    """A run whose "fused" engine is a mistaken one."""

    mistake: Any

    def outcome(self, params: Any, engine: Engine, *, validated: bool = True) -> Outcome:
        if engine == "reference":
            return super().outcome(params, engine, validated=validated)
        right = self.mistake.run(self).outcome(params, "reference", validated=validated)
        return self.mistake.outcome(right, self.data, validated)

    def following(self, state: fm.TrainState, engine: Engine) -> tuple[fm.TrainState, float]:
        if engine == "reference":
            return super().following(state, engine)
        state, loss = self.mistake.run(self).following(state, "reference")
        return self.mistake.epoch(state, loss)


class Mistake:
    """None yet: the reference as it is."""

    def run(self, run: WrongRun) -> TrainingRun:
        """What is trained in truth."""
        fields = {a.name: getattr(run, a.name) for a in attrs.fields(TrainingRun)}
        return TrainingRun(**fields)

    def outcome(self, right: Outcome, data: fm.Dataset, validated: bool) -> Outcome:
        return right

    def epoch(self, state: fm.TrainState, loss: float) -> tuple[fm.TrainState, float]:
        return state, loss


def check_mistake(mistake: Mistake, *, seed: int, **options: Any) -> None:
    settings = {"epochs": 3, "batch_size": 4, "schedule": None, "penalty": None, **options}
    loss, optimizer = settings.pop("loss", fm.MeanSquaredError()), settings.pop("optimizer", fm.Momentum(0.1))
    params = settings.pop("params", None)
    data = fm.datasets.disk(fm.random.key(0), SAMPLES, dtype=torch.float64)
    run = WrongRun(
        network=NETWORK,
        loss=loss,
        optimizer=optimizer,
        data=data,
        key=fm.random.key(seed),
        mistake=mistake,
        **settings,
    )
    compare(run, params, "fused")


def moved(tree: Any, error: float) -> Any:
    """The tree with the last number of its last leaf off by a relative error."""
    leaves = [leaf.clone() for leaf in fm.pytree.leaves(tree)]
    leaves[-1].view(-1)[-1] *= 1 + error
    return fm.pytree.unflatten(tree, leaves)


def with_slots(outcome: Outcome, **slots: Any) -> Outcome:
    state = attrs.evolve(outcome.state, optimizer_state=attrs.evolve(outcome.state.optimizer_state, **slots))
    return attrs.evolve(outcome, state=state)


def with_history(outcome: Outcome, name: str, change: Callable[[float], float]) -> Outcome:
    changed = tuple(map(change, getattr(outcome.history, name)))
    return attrs.evolve(outcome, history=attrs.evolve(outcome.history, **{name: changed}))


@planted(check_mistake, says=r"train_accuracy\[0\] is .*, the reference's")
class OneRightAnswerTooMany(Mistake):
    def outcome(self, right, data, validated):
        return with_history(right, "train_accuracy", lambda accuracy: accuracy - 1 / SAMPLES)


@planted(check_mistake, says=r"validation_accuracy\[0\] is .*, the reference's")
class AnotherValidationAccuracy(Mistake):
    def outcome(self, right, data, validated):
        return with_history(right, "validation_accuracy", lambda accuracy: 1 - accuracy / 2)


@planted(check_mistake, says=r"validation_loss\[0\] is .*, the reference's")
class AnotherValidationLoss(Mistake):
    def outcome(self, right, data, validated):
        return with_history(right, "validation_loss", lambda loss: loss * (1 + 1e-6))


@planted(check_mistake, says=r"train_loss\[0\] is .*, the reference's|train_epoch gives other bits")
class AnotherTrainingLoss(Mistake):
    def outcome(self, right, data, validated):
        return with_history(right, "train_loss", lambda loss: loss * (1 + 1e-6))


@planted(check_mistake, says="the engine ends with step 14, the reference with 15")
class OneStepLess(Mistake):
    def outcome(self, right, data, validated):
        return with_slots(right, step=right.state.optimizer_state.step - 1)


@planted(check_mistake, says="the engine ends with learning_rate")
class AnotherRateInTheState(Mistake):
    def outcome(self, right, data, validated):
        return with_slots(right, learning_rate=right.state.optimizer_state.learning_rate * 0.9)


@planted(check_mistake, says="the engine trains at")
class AnotherRateInTheHistory(Mistake):
    def outcome(self, right, data, validated):
        return with_history(right, "learning_rate", lambda rate: 0.9 * rate)


@planted(check_mistake, says="several epochs at once give other bits")
class SeveralEpochsAtOnceDiffer(Mistake):
    def outcome(self, right, data, validated):
        return right if validated else with_slots(right, params=moved(right.state.optimizer_state.params, 1e-15))


@planted(check_mistake, says="several epochs at once give another accuracy")
class SeveralEpochsAtOnceCountOtherwise(Mistake):
    def outcome(self, right, data, validated):
        return right if validated else with_history(right, "train_accuracy", lambda accuracy: accuracy / 2)


@planted(check_mistake, says="train_epoch gives other bits than fit")
class OneEpochDiffers(Mistake):
    def epoch(self, state, loss):
        params = moved(state.optimizer_state.params, 1e-15)
        return attrs.evolve(state, optimizer_state=attrs.evolve(state.optimizer_state, params=params)), loss


@planted(check_mistake, says="train_epoch gives other bits than fit")
class LossOfOneEpochDiffers(Mistake):
    def epoch(self, state, loss):
        return state, loss * (1 + 1e-6)


class RateOff(Mistake):
    """The learning rate off by 1e-4 of itself."""

    def run(self, run):
        right = super().run(run)
        kind = type(right.optimizer)

        class TakesAnotherRate(kind):
            def rule(self, xp, step, learning_rate, *arrays):
                return kind.rule(self, xp, step, learning_rate * (1 + 1e-4), *arrays)

        return attrs.evolve(right, optimizer=TakesAnotherRate(**attrs.asdict(right.optimizer)))


RATE = r"(params|train_loss|validation_loss|velocity|moment).*, the reference's"


@planted(check_mistake, says=RATE)
class RateOffMomentum(RateOff):
    pass


@planted(check_mistake, says=RATE, optimizer=fm.SGD(0.1))
class RateOffSGD(RateOff):
    pass


@planted(check_mistake, says=RATE, optimizer=fm.Adam(0.01), loss=fm.CrossEntropy(), batch_size=1)
class RateOffAdam(RateOff):
    pass


@planted(check_mistake, says=RATE, optimizer=fm.SGD(1e-3), batch_size=20)
class RateOffOfASlowRun(RateOff):
    pass


@planted(check_mistake, says=RATE, schedule=fm.schedules.exponential_decay(0.9), batch_size=1)
class RateOffOfASchedule(RateOff):
    pass


@planted(check_mistake, says="the engine changed what was handed in: .*'inputs'")
class WritesToTheData(Mistake):
    def outcome(self, right, data, validated):
        data.inputs[0, 0] += 1e-3
        return right


@planted(check_mistake, says="a second run gives other bits")
class AnotherResultTheSecondTime(Mistake):
    def __init__(self):
        self.calls = 0

    def outcome(self, right, data, validated):
        self.calls += 1
        return with_slots(right, velocity=moved(right.state.optimizer_state.velocity, 1e-15 * self.calls))


@planted(
    check_mistake, says=r"params\[2\].bias\[1\] is .*, the reference's .*: an error of|train_epoch gives other bits"
)
class OneParamOff(Mistake):
    def outcome(self, right, data, validated):
        return with_slots(right, params=moved(right.state.optimizer_state.params, 1e-6))

    def epoch(self, state, loss):
        return self.last(state, params=moved(state.optimizer_state.params, 1e-6)), loss

    def last(self, state, **slots):
        """The state with other slots after the last epoch."""
        optimizer_state = attrs.evolve(state.optimizer_state, **slots)
        return attrs.evolve(state, optimizer_state=optimizer_state) if state.epoch == 3 else state


@planted(check_mistake, says=r"velocity\[2\].bias\[1\] is .*, the reference's .*: an error of")
class OneVelocityOff(OneParamOff):
    def outcome(self, right, data, validated):
        return with_slots(right, velocity=moved(right.state.optimizer_state.velocity, 1e-6))

    def epoch(self, state, loss):
        return self.last(state, velocity=moved(state.optimizer_state.velocity, 1e-6)), loss


@planted(check_mistake, says=r"params\[2\].bias.*\[1\] is nan, the reference's")
class OneParamNan(OneParamOff):
    def outcome(self, right, data, validated):
        return with_slots(right, params=moved(right.state.optimizer_state.params, float("nan")))

    def epoch(self, state, loss):
        return self.last(state, params=moved(state.optimizer_state.params, float("nan"))), loss


@planted(check_mistake, says=r"the engine changed what was handed in: .*\['inputs'\]\[0, 1\]")
class WritesToTheLastFeature(Mistake):
    def outcome(self, right, data, validated):
        data.inputs[0, 1] *= 1.5
        return right


@planted(check_mistake, says="the engine diverges at epoch 1, the reference at epoch None")
class DivergesAtAnotherEpoch(Mistake):
    def outcome(self, right, data, validated):
        return attrs.evolve(right, diverged_at=1)


@planted(check_mistake, says="the engine ends after epoch 2, not 3")
class OneEpochLess(Mistake):
    def outcome(self, right, data, validated):
        return attrs.evolve(right, state=attrs.evolve(right.state, epoch=2))
