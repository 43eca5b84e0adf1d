"""Programs compiled, and networks trained, by other policies than the measured one."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import torch

import functional_mlp as fm
from functional_mlp import engines
from functional_mlp.course import Course
from functional_mlp.engine.llvm.target import Target, host
from functional_mlp.engine.lowering import lower_steps
from functional_mlp.engine.members.plan import bytes_of_a_member
from functional_mlp.engine.plan import Sharing
from functional_mlp.engine.policy import MEASURED, Policy
from functional_mlp.orders import key_of
from functional_mlp.penalties import Penalty
from functional_mlp.state import FitResult, Job, Member, Progress, ScheduleLike, Tick, learning_rates
from functional_mlp.testing.engines.cases import Engine, TrainingRun
from functional_mlp.testing.engines.check import compare

# Code is emitted, not compiled, for these on any machine.
AVX512 = Target("x86_64-unknown-linux-gnu", "x86-64-v4", "", 64)
TARGETS = [
    Target(AVX512.triple, "x86-64", "", 16),
    Target(AVX512.triple, "x86-64-v3", "", 32),
    AVX512,
    Target("aarch64-unknown-linux-gnu", "neoverse-n1", "", 16),
]

NONE, ANY = -1, 1 << 40  # below, and above, what any program has

# Whatever their sizes, programs share functions so.
SHARED = {
    Sharing.NONE: Policy(
        most_layers_in_one_piece=ANY,
        most_vectors_in_one_piece=ANY,
        most_instructions_in_one_piece=ANY,
        most_short_in_one_piece=ANY,
    ),
    Sharing.EQUAL_SIZES: Policy(
        most_layers_in_one_piece=NONE,
        most_shapes=ANY,
        most_instructions_of_rules=ANY,
        most_steps_called_one_by_one=ANY,
    ),
    Sharing.ALL: Policy(most_layers_in_one_piece=NONE, most_shapes=NONE, most_fused=ANY),
}


def units_divided(policy: Policy = MEASURED) -> Policy:
    """Where networks are trained on single samples, the units of all but the narrowest layers are divided."""
    return attrs.evolve(policy, fewest_weights_divided=0, fewest_weights_of_a_divided_layer=0, product_width=2)


def among_threads(policy: Policy = MEASURED) -> Policy:
    """Epochs are divided among as many threads as there are, however small they are."""
    return attrs.evolve(
        policy,
        fewest_samples_of_a_thread=1,
        fewest_operations_of_a_thread=1,
        fewest_operations_of_a_divided_call=0,
        fewest_weights_of_a_thread=1,
    )


def units_side_by_side(network: fm.Layer, optimizer: fm.Optimizer, batch_size: int, dtype: torch.dtype) -> Policy:
    """Groups have half as many members as a vector has lanes, where that has more than two."""
    lanes = host().lanes(dtype.itemsize)
    of_a_member = bytes_of_a_member(lower_steps(network, dtype=dtype), len(optimizer.slots()), batch_size)
    return Policy(first_cache_bytes=of_a_member * lanes - (lanes > 2))


@contextlib.contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """torch's number of threads, which is the engine's."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# Training by a policy


def job(
    network: fm.Layer,
    loss: fm.Loss,
    members: Sequence[tuple[fm.Optimizer, fm.Dataset, fm.random.Key]],
    *,
    epochs: int,
    batch_size: int = 1,
    penalty: Penalty | None = None,
    validation: fm.Dataset | Sequence[fm.Dataset] | None = None,
    schedule: ScheduleLike | Sequence[ScheduleLike] | None = None,
    params: Any = None,
) -> Job:
    """What `fit` and `fit_ensemble` make of their arguments; members have an optimizer, data and a key each."""
    sets, schedules = (own if isinstance(own, Sequence) else [own] * len(members) for own in (validation, schedule))
    return Job(
        network=network,
        loss=loss,
        epochs=epochs,
        batch_size=batch_size,
        engine="fused",
        members=tuple(
            Member(
                optimizer=optimizer,
                data=data,
                validation=held_out,
                schedule=own_schedule,
                progress=Progress(_start(network, optimizer, data, key, params)),
            )
            for (optimizer, data, key), held_out, own_schedule in zip(members, sets, schedules, strict=True)
        ),
        penalty=penalty,
    )


def _start(
    network: fm.Layer, optimizer: fm.Optimizer, data: fm.Dataset, key: fm.random.Key, params: Any
) -> fm.TrainState:
    init_key, train_key = key.split()
    params = network.init(init_key, dtype=data.inputs.dtype) if params is None else params
    return fm.TrainState(optimizer.init(params), train_key, 0)


def fit(
    network: fm.Layer,
    loss: fm.Loss,
    optimizer: fm.Optimizer,
    data: fm.Dataset,
    *,
    key: fm.random.Key,
    policy: Policy,
    progress: Tick | None = None,
    **options: Any,
) -> FitResult:
    """`functional_mlp.fit` on the fused engine by a policy; `options` are those of `job`."""
    return finished(begun(job(network, loss, [(optimizer, data, key)], **options), policy, progress))[0]


def begun(job: Job, policy: Policy, progress: Tick | None = None) -> Course:
    """The training of a job's one member on the fused engine by a policy, from its start."""
    return Course(job, engines.fused_group(job, 0, policy), watched=False, tick=progress)


def finished(course: Course) -> dict[int, FitResult]:
    """The results of a course's members by their numbers in the job, once it is at its end."""
    for _ in course:
        pass
    return course.results()


def fit_together(job: Job, policy: Policy) -> list[FitResult]:
    """The results of a job's members, trained in groups by a policy."""
    results: dict[int, FitResult] = {}
    for group in engines.fused_groups(job, policy):
        results |= finished(Course(job, group, watched=False))
    return [results[number] for number in range(len(job.members))]


@attrs.frozen(eq=False)
class RunByPolicy(TrainingRun):
    """A training run whose epochs on the fused engine are those of a policy."""

    policy: Policy

    def fitted(self, params: Any, engine: Engine, validation: fm.Dataset | None) -> FitResult:
        if engine == "reference":
            return super().fitted(params, engine, validation)
        return finished(begun(self._job(self.epochs, validation, params), self.policy))[0]

    def following(self, state: fm.TrainState, engine: Engine) -> tuple[fm.TrainState, float]:
        if engine == "reference":
            return super().following(state, engine)
        own = self._job(state.epoch + 1, None, None)
        (member,) = own.members
        own = attrs.evolve(own, members=(attrs.evolve(member, progress=Progress(state)),))
        run = engines.fused_group(own, 0, self.policy).start()
        keys, rates = [key_of(state.key, state.epoch)], learning_rates(own.members, state.epoch, [None])
        (outcome,), _ = run.epochs([keys], [rates], lambda done: None, ())
        return fm.TrainState(run.state(run.snapshot(), 0), state.key, state.epoch + 1), outcome.train_loss[0]

    def _job(self, epochs: int, validation: fm.Dataset | None, params: Any) -> Job:
        return job(
            self.network,
            self.loss,
            [(self.optimizer, self.data, self.key)],
            epochs=epochs,
            batch_size=self.batch_size,
            penalty=self.penalty,
            validation=validation,
            schedule=self.schedule,
            params=params,
        )


def check_agreement(
    network: fm.Layer,
    loss: fm.Loss,
    optimizer: fm.Optimizer,
    data: fm.Dataset,
    *,
    policy: Policy,
    epochs: int = 3,
    batch_size: int = 1,
    schedule: Callable[[int], float] | None = None,
    seed: int = 0,
) -> None:
    """`check_engines_agree`, where the fused engine follows a policy."""
    run = RunByPolicy(
        network=network,
        loss=loss,
        optimizer=optimizer,
        data=data,
        epochs=epochs,
        batch_size=batch_size,
        schedule=schedule,
        penalty=None,
        key=fm.random.key(seed),
        policy=policy,
    )
    compare(run, None, "fused")
