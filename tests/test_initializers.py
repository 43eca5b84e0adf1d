import math

import pytest
import torch

import functional_mlp as fm
from functional_mlp import initializers
from functional_mlp.initializers import Initializer
from tests.helpers import KEY, assert_same_bits, check_refused, refusal
from tests.tables import INITIALIZERS

FAN_IN, FAN_OUT = 300, 100


def weights(initializer: Initializer) -> torch.Tensor:
    return initializer(KEY, (FAN_OUT, FAN_IN), fan_in=FAN_IN, fan_out=FAN_OUT, dtype=torch.float64)


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_draw_has_the_shape_and_dtype_asked_for(initializer: Initializer, dtype: torch.dtype) -> None:
    drawn = initializer(KEY, (4, 3), fan_in=3, fan_out=4, dtype=dtype)
    assert (drawn.shape, drawn.dtype) == ((4, 3), dtype)
    assert initializer(KEY, (4,), fan_in=3, fan_out=4, dtype=dtype, device="meta").is_meta


@pytest.mark.parametrize("initializer", INITIALIZERS, ids=repr)
def test_a_draw_is_a_function_of_the_key(initializer: Initializer) -> None:
    assert_same_bits(weights(initializer), weights(initializer))


@pytest.mark.parametrize(
    ("initializer", "torch_initializer"),
    [
        (initializers.xavier_uniform(), torch.nn.init.xavier_uniform_),
        (initializers.xavier_uniform(gain=0.25), lambda w: torch.nn.init.xavier_uniform_(w, gain=0.25)),
        (initializers.xavier_normal(), torch.nn.init.xavier_normal_),
        (initializers.kaiming_uniform(), lambda w: torch.nn.init.kaiming_uniform_(w, nonlinearity="relu")),
        (initializers.kaiming_normal(), lambda w: torch.nn.init.kaiming_normal_(w, nonlinearity="relu")),
        (initializers.torch_default(), lambda w: torch.nn.Linear(FAN_IN, FAN_OUT, dtype=torch.float64).weight),
        (initializers.uniform(-1, 1), lambda w: torch.nn.init.uniform_(w, -1, 1)),
        (initializers.normal(2.0, 0.1), lambda w: torch.nn.init.normal_(w, 2.0, 0.1)),
    ],
    ids=lambda value: repr(value) if isinstance(value, Initializer) else "torch",
)
def test_draws_are_distributed_as_torchs(initializer: Initializer, torch_initializer) -> None:
    ours = weights(initializer)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = torch_initializer(torch.empty(FAN_OUT, FAN_IN, dtype=torch.float64)).detach()
    quantiles = torch.linspace(0, 1, 21, dtype=torch.float64)[1:-1]
    gap = ours.quantile(quantiles) - theirs.quantile(quantiles)
    assert gap.abs().max() < 0.04 * theirs.std()
    if isinstance(initializer, initializers.UniformInitializer):
        assert ours.max() == pytest.approx(theirs.max().item(), rel=1e-3)


def test_torch_default_biases_are_those_of_torch_nn_linear() -> None:
    bound = 1 / math.sqrt(FAN_IN)
    bias = initializers.torch_default()(KEY, (FAN_OUT,), fan_in=FAN_IN, fan_out=FAN_OUT)
    assert 0.9 * bound < bias.abs().max() <= bound


def test_constants_are_constant() -> None:
    assert weights(initializers.constant(2.5)).unique().tolist() == [2.5]
    assert weights(initializers.zeros()).unique().tolist() == [0.0]


def test_linear_hands_its_fans_to_its_initializers() -> None:
    params = fm.Linear(FAN_IN, 2, bias_init=initializers.torch_default()).init(KEY)
    assert params.weight.abs().max() <= math.sqrt(6 / (FAN_IN + 2))
    assert 0 < params.bias.abs().max() <= 1 / math.sqrt(FAN_IN)


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("string", lambda: initializers.uniform("a", 1), TypeError, "uniform: low", "number", "'a', a str"),
        refusal("NaN", lambda: initializers.uniform(0, math.nan), ValueError, "uniform: high", "finite", "nan"),
        refusal("reversed ends", lambda: initializers.uniform(1, 0), ValueError, "uniform: high", "[1", "0"),
        refusal("negative std", lambda: initializers.normal(0, -1), ValueError, "normal: std", "[0.0", "-1"),
        refusal("infinity", lambda: initializers.constant(math.inf), ValueError, "constant: value", "finite", "inf"),
        refusal("bool", lambda: initializers.constant(True), TypeError, "constant: value", "number", "True, a bool"),
        refusal("an int over the floats", lambda: initializers.constant(10**400), ValueError, "value", "finite"),
        *(
            refusal(
                f"{initializer!r} with an int for a key",
                lambda initializer=initializer: initializer(0, (2,), fan_in=1, fan_out=1),
                TypeError,
                "Key",
                "0, an int",
                "random.key(seed)",
            )
            for initializer in INITIALIZERS
        ),
        *(
            refusal(
                f"{initializer!r} in integers",
                lambda initializer=initializer: initializer(KEY, (2,), fan_in=1, fan_out=1, dtype=torch.int32),
                ValueError,
                "floating",
                "torch.int32",
            )
            for initializer in INITIALIZERS
        ),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
