"""Training: `fit`, a run from its first epoch to its last, and `train_epoch`, one such epoch as a pure step."""

import warnings
from collections.abc import Callable, Sequence

from functional_mlp import bar, engines
from functional_mlp.arguments import (
    check_data,
    check_observers,
    check_optimizer,
    check_samples,
    check_schedule,
    check_state,
    checked_task,
    job_of_fit,
)
from functional_mlp.checks import Integer
from functional_mlp.course import Course
from functional_mlp.datasets import Dataset
from functional_mlp.interrupts import one_interrupt
from functional_mlp.layers.base import Layer, Params
from functional_mlp.losses import Loss
from functional_mlp.monitor_checks import warn_of_blind_rules
from functional_mlp.optimizers import Optimizer
from functional_mlp.orders import key_of
from functional_mlp.penalties import Penalty, check_penalty
from functional_mlp.random import Key
from functional_mlp.spread import count
from functional_mlp.state import (
    Callback,
    EngineName,
    FitResult,
    Job,
    Keeper,
    Member,
    Progress,
    ScheduleLike,
    Score,
    TrainState,
    learning_rates,
    reads_history,
)
from functional_mlp.stopping import EarlyStopping
from functional_mlp.watching import Watch


def fit(
    network: Layer,
    loss: Loss,
    optimizer: Optimizer,
    data: Dataset,
    *,
    key: Key | None = None,
    epochs: Integer,
    batch_size: Integer = 1,
    shuffle: bool = True,
    schedule: ScheduleLike | None = None,
    penalty: Penalty | None = None,
    validation: Dataset | None = None,
    score: Score | None = None,
    params: Params | None = None,
    state: TrainState | None = None,
    engine: EngineName = "auto",
    progress: Callable[[float], None] | bool | None = None,
    callbacks: Sequence[Callback] = (),
    checkpoint: Keeper | None = None,
    early_stopping: EarlyStopping | None = None,
) -> FitResult:
    """Train a network: epoch after epoch over the data, each in a new order.

    Parameters
    ----------
    network
        What is trained.
    loss
        What training minimizes.
    optimizer
        How a gradient changes the parameters.
    data
        The samples that it is trained on.
    key
        Is split into one for `network.init` and one for the orders; left out where `state` goes on.
    epochs
        The number of epochs in all, those of `state` or of the checkpoint included.
    batch_size
        Samples an update; their mean gradient is applied. The last batch of an epoch may be short. (`BatchGD` has a
        number of its own: of updates whose gradients are gathered.)
    shuffle
        Whether each epoch has an order of its own; otherwise all have that of the data.
    schedule
        The learning rate of an epoch is the optimizer's times `schedule(epoch)`.
    penalty
        What is added to the loss for the size of the weights (see `functional_mlp.penalties`). The losses of the
        history are those of the data alone.
    validation
        A data set whose loss and accuracy are taken at the end of each epoch.
    score
        A function of the outputs over the validation data and of these: what `score(outputs, validation)` returns is
        the `validation_accuracy` of the epoch, in place of the share of right answers. It is taken to be better the
        larger it is.
    params
        Parameters to start from, in place of `network.init`'s.
    state
        A `TrainState` to go on from: to the same bits as an unbroken run, whatever the engine's calls. It has no
        history: a schedule that reads one is refused, and early stopping counts the epochs of this call alone
        (`checkpoint` keeps both).
    engine
        "reference", "fused" (a `ValueError` with the reason where that engine cannot run this), or "auto": the
        fused one where it can run this.
    progress
        Is called now and then with the number of epochs done, a fraction within an epoch. True shows a bar, on the
        terminal or in the notebook.
    callbacks
        Each is called `callback(epoch, state, history)` after each epoch; one that returns True ends the training.
        Where epochs take microseconds, some more may be trained before the call; if it ends the training, they are
        undone.
    checkpoint
        A `functional_mlp.Checkpoint`: the run is saved as it goes, and the same call goes on with what is saved. Its
        result has the same bits as that of an unbroken run, and the whole history.
    early_stopping
        A `functional_mlp.EarlyStopping`, which ends a run that gets better no more; the result has its best state.

    A loss that stops being finite ends the training with a `RuntimeWarning`, and Ctrl-C ends it with what was learnt so
    far: see `FitResult`. Raises `TypeError` or `ValueError`, before training, for what does not fit together.

    >>> import functional_mlp as fm
    >>> network = fm.Sequential(fm.Linear(2, 25), fm.Tanh(), fm.Linear(25, 2))
    >>> data = fm.datasets.disk(fm.random.key(0), 200)
    >>> result = fm.fit(network, fm.MeanSquaredError(), fm.Adam(0.01), data, key=fm.random.key(1), epochs=5)
    >>> result.history.train_loss[-1] < result.history.train_loss[0]
    True
    """
    check_observers("fit", progress, callbacks, checkpoint)
    asked = job_of_fit(
        network,
        loss,
        optimizer,
        data,
        key=key,
        epochs=epochs,
        batch_size=batch_size,
        shuffle=shuffle,
        schedule=schedule,
        penalty=penalty,
        validation=validation,
        score=score,
        params=params,
        state=state,
        engine=engine,
        early_stopping=early_stopping,
    )
    watch = Watch(asked, callbacks, checkpoint)
    job = watch.job  # the one asked for, from where its checkpoint has come
    with one_interrupt(), bar.shown(progress, job.epochs) as tell:
        course = Course(job, engines.lone_group(job), watched=watch.looks, tick=tell)
        watch.begin()
        (result,) = train(course, watch).values()
    warn_of_divergence(result)
    warn_of_blind_rules(job, [result])
    return result


def train(course: Course, watch: Watch) -> dict[int, FitResult]:
    """Train the members of a course, under the eyes of a watch, to their end or to Ctrl-C.

    Returns the result of each, by its number in the job.
    """
    interrupted = False
    try:
        for reached in course:
            watch.look(course, reached)
    except KeyboardInterrupt:
        interrupted = True
    watch.finish(course)
    return course.results(interrupted=interrupted)


def train_epoch(
    network: Layer,
    loss: Loss,
    state: TrainState,
    data: Dataset,
    *,
    optimizer: Optimizer,
    batch_size: Integer = 1,
    shuffle: bool = True,
    schedule: ScheduleLike | None = None,
    penalty: Penalty | None = None,
    engine: EngineName = "auto",
) -> tuple[TrainState, float]:
    """One epoch of training: a new state, and the mean loss of the samples right before their own updates.

    Parameters
    ----------
    network
        What is trained.
    loss
        What training minimizes.
    state
        Where training stands: the optimizer's state, the key of the orders, the number of the epoch.
    data
        The samples of the epoch.
    optimizer
        The one whose state `state` holds.
    batch_size
        Samples an update; the last batch may be short, and its gradient is the mean over what it holds.
    shuffle
        As `fit` takes it.
    schedule
        The learning rate is the optimizer's times `schedule(state.epoch)`.
    penalty
        As `fit` takes it; the mean loss is that of the data alone.
    engine
        As `fit` takes it.

    The order of the epoch is `permutation(state.key.fold_in(state.epoch), n)`.

    >>> import functional_mlp as fm
    >>> network, optimizer = fm.Linear(2, 2), fm.SGD(0.01)
    >>> init_key, train_key = fm.random.key(0).split()
    >>> state = fm.TrainState(optimizer.init(network.init(init_key)), train_key, epoch=0)
    >>> data = fm.datasets.disk(fm.random.key(1), 100)
    >>> state, mean_loss = fm.train_epoch(network, fm.MeanSquaredError(), state, data, optimizer=optimizer)
    >>> state.epoch, state.optimizer_state.step
    (1, 100)
    """
    settings = {"batch_size": batch_size, "shuffle": shuffle, "engine": engine}
    network, batch_size = checked_task("train_epoch", network, loss, **settings)
    check_optimizer("train_epoch", optimizer)
    check_data("train_epoch", data)
    check_schedule("train_epoch", schedule)
    check_penalty("train_epoch", penalty, data.inputs.dtype)
    check_state("train_epoch", state, optimizer)
    if reads_history(schedule):
        raise ValueError(f"train_epoch: {schedule!r} reads the history of a run, and an epoch has none: call fit")
    member = Member(optimizer=optimizer, data=data, schedule=schedule, progress=Progress(state))
    job = Job(
        network=network,
        loss=loss,
        members=(member,),
        epochs=state.epoch + 1,
        batch_size=batch_size,
        shuffle=shuffle,
        penalty=penalty,
        engine=engine,
    )
    check_samples(job)
    run = engines.lone_group(job).start()
    keys, rates = [key_of(state.key, state.epoch)], learning_rates([member], state.epoch, [None])
    (outcome,), (snapshot,) = run.epochs([keys], [rates], lambda done: None, ())
    return TrainState(run.state(snapshot, 0), state.key, state.epoch + 1), outcome.train_loss[0]


def warn_of_divergence(result: FitResult) -> None:
    if result.diverged_at is not None:
        warnings.warn(
            f"fit: training diverged in epoch {result.diverged_at}, whose loss is {result.history.train_loss[-1]}, and "
            f"ends with the last finite state, after {count(result.state.epoch, 'epoch')}: a smaller learning "
            "rate may help",
            RuntimeWarning,
            stacklevel=3,
        )
