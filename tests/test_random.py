import math
import random as stdlib_random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pytree, random
from tests.helpers import KEY, assert_same_bits, check_refused, refusal

DRAWS = {
    "uniform": lambda key: random.uniform(key, (5, 3), -1.0, 2.0),
    "normal": lambda key: random.normal(key, (5, 3), 1.0, 2.0, dtype=torch.float64),
    "permutation": lambda key: random.permutation(key, 50),
    "disk": lambda key: fm.datasets.disk(key, 20).inputs,
    "init": lambda key: fm.Linear(3, 4).init(key),
}
FLOATS = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def global_states() -> tuple[bytes, str, object]:
    return bytes(torch.get_rng_state().numpy()), repr(np.random.get_state(legacy=False)), stdlib_random.getstate()


@pytest.mark.parametrize("name", DRAWS)
def test_a_key_gives_the_same_bits_whatever_else_has_run(name: str) -> None:
    expected = DRAWS[name](KEY)
    torch.manual_seed(1)
    np.random.seed(1)
    stdlib_random.seed(1)
    for other in DRAWS.values():
        other(random.key(9))
    assert_same_bits(DRAWS[name](KEY), expected)


@pytest.mark.parametrize("name", DRAWS)
def test_global_generators_stay_as_they_are(name: str) -> None:
    before = global_states()
    DRAWS[name](KEY)
    assert global_states() == before


@pytest.mark.parametrize("name", DRAWS)
def test_draws_do_not_depend_on_the_default_dtype_or_device(name: str) -> None:
    expected = DRAWS[name](KEY)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            drawn = DRAWS[name](KEY)
    finally:
        torch.set_default_dtype(torch.float32)
    assert_same_bits(drawn, expected)


@pytest.mark.parametrize("name", DRAWS)
def test_threads_draw_the_same_bits_as_calls_in_a_row(name: str) -> None:
    keys = KEY.split(16)
    expected = [DRAWS[name](key) for key in keys]
    with ThreadPoolExecutor(8) as pool:
        assert_same_bits(list(pool.map(DRAWS[name], keys)), expected)


@pytest.mark.parametrize("name", DRAWS)
def test_different_keys_give_different_numbers(name: str) -> None:
    first, second = (DRAWS[name](key) for key in KEY.split())
    assert not pytree.equal(first, second)


def test_the_bits_of_a_draw_are_fixed() -> None:
    """A change of these numbers would change the results of everyone's seeds."""
    uniform, order = random.uniform(random.key(0), (2,), dtype=torch.float64), random.permutation(random.key(0), 5)
    assert uniform.tolist() == [0.3219624055219513, 0.02796032792224723]
    assert order.tolist() == [0, 4, 3, 2, 1]


def test_numbers_do_not_depend_on_how_many_are_drawn_at_a_time() -> None:
    assert random._unit_interval(KEY, 20, at_once=3).equal(random._unit_interval(KEY, 20))


def test_no_seed_split_or_fold_collides_with_another() -> None:
    numbers = [*range(-1000, 1000), *(2**bits for bits in range(10, 200))]
    keys = [random.key(number) for number in numbers]
    keys += KEY.split(2000)
    keys += [KEY.fold_in(number) for number in numbers]
    keys += [grandchild for child in KEY.split(40) for grandchild in child.split(40)]
    keys += [child.fold_in(number) for child in KEY.split(40) for number in range(40)]
    keys += [KEY.fold_in(number).split(1)[0] for number in range(1000)]
    assert len(set(keys)) == len(keys) > 10_000


def test_draws_of_200_000_keys_do_not_collide() -> None:
    """32 bits of seed, which is all that torch's generator takes, would give four collisions."""
    # What every draw is made of, without the checks, which would take most of the time.
    draws = {random._unit_interval(key, 1).item() for key in KEY.split(200_000)}
    assert len(draws) == 200_000


def test_the_first_children_are_the_same_whatever_their_number() -> None:
    assert KEY.split(2) == KEY.split(5)[:2]


def test_numbers_of_a_longer_draw_start_with_those_of_a_shorter() -> None:
    """Draws have no state: what is drawn depends on key and place alone."""
    assert_same_bits(random.uniform(KEY, (3,)), random.uniform(KEY, (5,))[:3])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-1.0, 1.0), (-3.0, -2.5), (1.0, 1.0 + 2**-7), (0.0, 1e-4)])
def test_uniform_stays_inside_its_interval(dtype: torch.dtype, low: float, high: float) -> None:
    u = random.uniform(KEY, (20_000,), low, high, dtype=dtype)
    assert u.dtype == dtype
    assert bool((u >= low).all())
    assert bool((u < high).all())


def test_uniform_of_an_interval_without_width_is_constant() -> None:
    assert random.uniform(KEY, (3,), 2.0, 2.0).tolist() == [2.0, 2.0, 2.0]


def largest_gap(draws: torch.Tensor, distribution) -> float:
    """The Kolmogorov-Smirnov statistic √n · max |F_n − F|: above 1.95 once in a thousand."""
    ordered = draws.double().sort().values
    n = len(ordered)
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    cumulative = distribution(ordered)
    return math.sqrt(n) * max((cumulative - steps[:-1]).abs().max().item(), (steps[1:] - cumulative).abs().max().item())


@pytest.mark.parametrize("seed", range(3))
def test_uniform_draws_are_uniform(seed: int) -> None:
    u = random.uniform(random.key(seed), (50_000,), -2.0, 6.0)
    assert largest_gap(u, lambda x: (x + 2) / 8) < 1.95


@pytest.mark.parametrize("seed", range(3))
def test_normal_draws_are_normal(seed: int) -> None:
    z = random.normal(random.key(seed), (50_000,), 3.0, 0.5)
    assert largest_gap(z, torch.distributions.Normal(3.0, 0.5).cdf) < 1.95


def test_neighbouring_draws_and_keys_are_uncorrelated() -> None:
    n = 20_000
    along = random.normal(KEY, (n + 1,))
    across = torch.cat([random.normal(key, (1,)) for key in KEY.split(n + 1)])
    for z in (along, across):
        assert abs((z[1:] * z[:-1]).mean().item()) < 4 / math.sqrt(n)


def test_normal_draws_are_finite_and_without_spread_constant() -> None:
    assert bool(random.normal(KEY, (100_000,)).isfinite().all())
    assert random.normal(KEY, (2,), 3.0, 0.0).tolist() == [3.0, 3.0]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_a_permutation_holds_every_index_once(n: int) -> None:
    order = random.permutation(KEY, n)
    assert order.dtype == torch.int64
    assert order.sort().values.tolist() == list(range(n))


def test_every_permutation_is_equally_likely() -> None:
    n, draws = 4, 12_000
    counts = torch.zeros(256)
    for key in KEY.split(draws):
        a, b, c, d = random.permutation(key, n).tolist()
        counts[a * 64 + b * 16 + c * 4 + d] += 1
    seen = counts[counts > 0]
    chi_squared = ((seen - draws / 24) ** 2 / (draws / 24)).sum().item()
    assert len(seen) == 24
    assert chi_squared < 49.7  # the 0.999 quantile for 23 degrees of freedom


def test_an_empty_shape_gives_a_number_and_a_zero_size_none() -> None:
    assert random.uniform(KEY, ()).shape == ()
    assert random.normal(KEY, (0, 3)).shape == (0, 3)


def test_the_meta_device_gives_shapes_alone() -> None:
    assert random.uniform(KEY, (2, 3), device="meta").is_meta
    assert random.normal(KEY, (2, 3), device="meta", dtype=torch.float64).dtype == torch.float64


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal("seed of a string", lambda: random.key("0"), TypeError, "seed", "integer", "'0', a str"),
        refusal("seed of a float", lambda: random.key(0.0), TypeError, "seed", "integer", "0.0, a float"),
        refusal("seed of a bool", lambda: random.key(True), TypeError, "seed", "integer", "True, a bool"),
        refusal("fold of a float", lambda: KEY.fold_in(1.0), TypeError, "fold_in", "integer", "1.0, a float"),
        refusal("fold of a bool", lambda: KEY.fold_in(True), TypeError, "fold_in", "integer", "True, a bool"),
        refusal("no split", lambda: KEY.split(0), ValueError, "split", "positive integer", "0"),
        refusal("split of a bool", lambda: KEY.split(True), TypeError, "split", "positive integer", "True, a bool"),
        refusal("key of wrong bytes", lambda: random.Key(b"0"), TypeError, "16 bytes", "b'0'", "random.key(seed)"),
        refusal("uniform of an int", lambda: random.uniform(0, (2,)), TypeError, "Key", "0, an int", "random.key"),
        refusal("normal of an int", lambda: random.normal(0, (2,)), TypeError, "Key", "0, an int", "random.key"),
        refusal("permutation of an int", lambda: random.permutation(0, 2), TypeError, "Key", "0, an int", "random.key"),
        refusal("shape of an int", lambda: random.uniform(KEY, 3), TypeError, "shape", "tuple", "3, an int"),
        refusal("shape of a float", lambda: random.uniform(KEY, (2.0,)), TypeError, "shape", "2.0, a float"),
        refusal("shape of a bool", lambda: random.normal(KEY, (True,)), TypeError, "shape", "True, a bool"),
        refusal("negative size", lambda: random.normal(KEY, (-1,)), ValueError, "shape", "at least 0", "-1"),
        refusal("negative length", lambda: random.permutation(KEY, -1), ValueError, "n must", "at least 0", "-1"),
        refusal("low of NaN", lambda: random.uniform(KEY, (2,), math.nan), ValueError, "low", "finite", "nan"),
        refusal("low of a string", lambda: random.uniform(KEY, (2,), "0"), TypeError, "low", "number", "'0', a str"),
        refusal("reversed ends", lambda: random.uniform(KEY, (2,), 1.0, 0.0), ValueError, "high", "[1.0", "0.0"),
        refusal(
            "ends beyond the dtype",
            lambda: random.uniform(KEY, (2,), -1e5, 1e5, dtype=torch.float16),
            ValueError,
            "low",
            "32752",
            "-100000.0",
        ),
        refusal(
            "a width beyond the dtype",
            lambda: random.uniform(KEY, (2,), -1.7e308, 1.7e308, dtype=torch.float64),
            ValueError,
            "low",
            "-1.7e+308",
        ),
        refusal("negative std", lambda: random.normal(KEY, (2,), 0.0, -1.0), ValueError, "std", "[0.0", "-1.0"),
        refusal("infinite std", lambda: random.normal(KEY, (2,), 0.0, math.inf), ValueError, "std", "finite", "inf"),
        refusal(
            "integer dtype", lambda: random.uniform(KEY, (2,), dtype=torch.int64), ValueError, "floating", "torch.int64"
        ),
        refusal(
            "dtype of a string",
            lambda: random.normal(KEY, (2,), dtype="float32"),
            TypeError,
            "torch.dtype",
            "'float32'",
        ),
        refusal("unknown device", lambda: random.normal(KEY, (2,), device="nope"), ValueError, "device", "'nope'"),
        refusal("device of a float", lambda: random.normal(KEY, (2,), device=1.5), TypeError, "device", "1.5, a float"),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
