"""scikit-learn."""

from collections.abc import Sequence

from peers.task import BETA, LEARNING_RATE, Task, Trainer, UnavailableError


def perceptron(task: Task) -> Trainer:
    """Its MLPRegressor or MLPClassifier, an epoch a `partial_fit`; there is one activation for all hidden layers."""
    if not task.of_paper and task.sizes[-1] == 2:
        raise UnavailableError("has one output for two classes")
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    inputs, targets = task.arrays
    # Its momentum is V ← βV − ηg, so that the factor 1 − β goes into the learning rate.
    rate, beta = (LEARNING_RATE * (1 - BETA), BETA) if task.momentum else (LEARNING_RATE, 0.0)
    matrices = task.matrices
    model = (MLPRegressor if task.of_paper else MLPClassifier)(
        hidden_layer_sizes=task.sizes[1:-1],
        activation="relu",
        solver="sgd",
        alpha=0.0,
        batch_size=task.batch_size,
        learning_rate_init=rate,
        momentum=beta,
        nesterovs_momentum=False,
        random_state=0,
    )
    classes = {} if task.of_paper else {"classes": range(task.sizes[-1])}
    model.partial_fit(inputs, targets, **classes)  # makes the arrays that `start` fills

    def start() -> None:
        for layer, (weight, bias) in enumerate(matrices):
            model.coefs_[layer][:] = weight.T
            model.intercepts_[layer][:] = bias
        for velocity in model._optimizer.velocities:
            velocity[:] = 0

    def train(epochs: int, *, fixed_orders: bool = False) -> Sequence[float]:
        start()
        losses = []
        for _ in range(epochs):
            model.partial_fit(inputs, targets)
            losses.append(2 * model.loss_ if task.of_paper else model.loss_)  # it halves the squares
        return losses

    return train
