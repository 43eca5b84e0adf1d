import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import functional_mlp as fm
from functional_mlp import pages
from tests.helpers import KEY, assert_same_bits, bits, check_refused, draw, refusal, unusable_tensors

X = draw(4, 3, dtype=torch.float32)
INDICES = torch.tensor([0, 1, 2, 1])


def test_class_indices_are_their_own_labels() -> None:
    data = fm.Dataset(X, INDICES)
    assert len(data) == 4
    assert_same_bits((data.inputs, data.targets, data.labels), (X, INDICES, INDICES))


@pytest.mark.parametrize(
    "dtype", [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.uint64]
)
def test_class_indices_of_any_integer_dtype_or_bool_become_int64(dtype: torch.dtype) -> None:
    expected = INDICES.bool().long() if dtype == torch.bool else INDICES
    assert_same_bits(fm.Dataset(X, INDICES.to(dtype)).targets, expected)
    assert_same_bits(fm.Dataset(X.numpy(), INDICES.to(dtype).numpy()).targets, expected)


def test_numpy_arrays_are_taken_as_tensors_are_and_where_they_lie() -> None:
    inputs = np.arange(24, dtype=np.float64).reshape(4, 6)
    data = fm.Dataset(inputs[:, ::2], INDICES.numpy(), np.ones(4))
    assert data.inputs.data_ptr() == inputs.ctypes.data
    assert data.targets.data_ptr() != INDICES.data_ptr() or data.targets.equal(INDICES)
    read_only = inputs.copy()
    read_only.flags.writeable = False
    for array in (inputs, read_only, inputs[::-1, ::-1], inputs.astype(">f8"), np.asfortranarray(inputs)):
        assert_same_bits(fm.Dataset(array, INDICES).inputs, torch.tensor(array.tolist(), dtype=torch.float64))
    network = fm.Linear(6, 2)
    params = network.init(KEY, dtype=torch.float64)
    assert_same_bits(fm.predict(network, params, inputs), fm.predict(network, params, torch.from_numpy(inputs)))
    for engine in ("reference", "fused"):
        given: Any = engine
        assert fm.classify(network, params, inputs, engine=given).shape == (4,)


def test_data_that_are_mapped_from_a_file_stay_there(tmp_path: Path) -> None:
    """They may be larger than memory: nothing is copied, and training reads the rows of a batch."""
    np.random.default_rng(0).random((300, 4)).astype("float32").tofile(tmp_path / "inputs")
    for mode in ("r", "r+"):
        inputs: Any = np.memmap(tmp_path / "inputs", "float32", mode, shape=(300, 4))
        data = fm.Dataset(inputs, (inputs[:, 0] > 0.5).astype("int64"))
        assert data.inputs.data_ptr() == inputs.ctypes.data
        for engine in ("reference", "fused"):
            options: Any = {"key": KEY, "epochs": 1, "batch_size": 10, "engine": engine}
            fm.fit(fm.Linear(4, 2), fm.CrossEntropy(), fm.SGD(0.1), data, **options)


def test_the_row_that_is_not_finite_is_found_in_whatever_piece_it_lies() -> None:
    inputs = torch.zeros(400_000, 3)
    assert inputs.numel() > pages.NUMBERS_AT_ONCE
    inputs[399_999, 1] = math.nan
    with pytest.raises(ValueError, match="got nan in row 399999, column 1"):
        fm.Dataset(inputs, torch.zeros(400_000, dtype=torch.int64))


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 2.0, 0.0, 1.0])])
def test_rows_are_tuples_of_what_they_have(weights: torch.Tensor | None) -> None:
    data = fm.Dataset(X, INDICES, weights)
    kept = [part for part in (X, INDICES, weights) if part is not None]
    for row in (2, -1, np.int64(2), np.array(2), torch.tensor(2)):
        assert_same_bits(data[row], tuple(part[row] for part in kept))
    assert len(list(data)) == 4
    with pytest.raises(IndexError):
        data[4]
    loader = torch.utils.data.DataLoader(data, batch_size=3)
    assert [batch[0].shape for batch in loader] == [(3, 3), (1, 3)]
    assert_same_bits(tuple(next(iter(loader))), tuple(part[:3] for part in kept))


@pytest.mark.parametrize("rows", [slice(1, 4, 2), [1, 3], torch.tensor([1, 3]), np.array([1, 3]), INDICES == 1])
def test_several_rows_are_a_data_set(rows: Any) -> None:
    part = fm.Dataset(X, INDICES, torch.arange(1.0, 5.0))[rows]
    assert_same_bits((part.inputs, part.targets), (X[1::2], INDICES[1::2]))
    assert_same_bits(part.weights, torch.tensor([2 / 3, 4 / 3]))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float32])
def test_one_hot_targets_of_any_dtype_become_that_of_the_inputs(dtype: torch.dtype) -> None:
    one_hot = torch.nn.functional.one_hot(INDICES)
    data = fm.Dataset(X, one_hot.to(dtype))
    assert_same_bits((data.targets, data.labels), (one_hot.float(), INDICES))


@pytest.mark.parametrize(
    "targets",
    [
        draw(4, 2, dtype=torch.float32),
        torch.tensor([[0.5, 0.5]] * 4),
        torch.tensor([[1.0, 1.0]] * 4),
        torch.zeros(4, 2),
    ],
    ids=["values", "soft", "many-hot", "none-hot"],
)
def test_other_targets_have_no_labels(targets: torch.Tensor) -> None:
    data = fm.Dataset(X, targets)
    assert_same_bits(data.targets, targets)
    assert data.labels is None


def test_arguments_come_back_untouched_and_unconnected() -> None:
    inputs, targets = draw(8, 6)[::2, ::2].requires_grad_(), draw(1, 2).expand(4, 2)
    before = bits((inputs, targets))
    data = fm.Dataset(inputs, targets)
    assert bits((inputs, targets)) == before
    assert not data.inputs.requires_grad
    assert inputs.requires_grad


def test_a_data_set_pickles_and_describes_itself() -> None:
    data = fm.Dataset(X, INDICES)
    twin = pickle.loads(pickle.dumps(data))
    assert_same_bits((twin.inputs, twin.targets, twin.labels), (data.inputs, data.targets, data.labels))
    assert repr(data).startswith("<Dataset of 4 rows: inputs a torch.float32 tensor of shape (4, 3) on cpu, targets")


def test_the_disk_is_that_of_the_paper() -> None:
    """Points uniform in [0,1]², of class 1 inside the disk of radius 1/√(2π), which is half of the square."""
    data = fm.datasets.disk(KEY, 20_000)
    distance = (data.inputs.double() - 0.5).norm(dim=1)
    clear = (distance - 1 / math.sqrt(2 * math.pi)).abs() > 1e-6
    assert torch.equal(data.labels[clear], (distance < 1 / math.sqrt(2 * math.pi)).long()[clear])
    assert_same_bits(data.targets, torch.nn.functional.one_hot(data.labels, 2).float())
    assert data.labels.double().mean().item() == pytest.approx(0.5, abs=0.015)
    assert 0 <= data.inputs.min() < 0.01
    assert 0.99 < data.inputs.max() < 1
    assert data.inputs.mean(0).tolist() == pytest.approx([0.5, 0.5], abs=0.01)


def test_the_disk_can_be_placed_and_sized() -> None:
    data = fm.datasets.disk(KEY, 500, center=(0.25, 0.75), radius=0.2, dtype=torch.float64)
    inside = (data.inputs - torch.tensor([0.25, 0.75])).norm(dim=1) < 0.2
    assert data.inputs.dtype == data.targets.dtype == torch.float64
    assert torch.equal(data.labels, inside.long())


def test_the_disk_is_a_function_of_its_key() -> None:
    first, second = fm.datasets.disk(KEY, 50), fm.datasets.disk(KEY, 50)
    assert_same_bits((first.inputs, first.targets), (second.inputs, second.targets))
    assert not torch.equal(first.inputs, fm.datasets.disk(fm.random.key(1), 50).inputs)
    assert len(fm.datasets.disk(KEY)) == 1000


PLANE = [fm.datasets.disk, fm.datasets.checkers, fm.datasets.moons, fm.datasets.spirals, fm.datasets.rings]


def angle_and_radius(points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Where points are around the middle of the unit square: the angle in full turns, and the distance."""
    x, y = (points - 0.5).T
    return torch.atan2(y, x) / (2 * math.pi), torch.hypot(x, y)


@pytest.mark.parametrize("draw_points", PLANE)
def test_points_of_the_plane_are_a_function_of_their_key(draw_points) -> None:
    first, second = draw_points(KEY, 101, noise=0.1), draw_points(KEY, 101, noise=0.1)
    assert_same_bits((first.inputs, first.targets), (second.inputs, second.targets))
    assert not torch.equal(first.inputs, draw_points(fm.random.key(1), 101, noise=0.1).inputs)
    assert len(draw_points(KEY)) == 1000


@pytest.mark.parametrize("draw_points", PLANE)
def test_points_of_the_plane_fill_the_unit_square_before_noise(draw_points) -> None:
    data = draw_points(KEY, 2000, dtype=torch.float64)
    assert data.inputs.dtype == data.targets.dtype == torch.float64
    assert data.inputs.shape == data.targets.shape == (2000, 2)
    assert data.inputs.min() >= 0
    assert data.inputs.max() <= 1
    assert (data.inputs.amax(0) - data.inputs.amin(0)).min() > 0.4


@pytest.mark.parametrize("draw_points", PLANE)
def test_noise_moves_points_by_its_deviation_and_leaves_their_classes(draw_points) -> None:
    still, moved = (draw_points(KEY, 5000, noise=noise, dtype=torch.float64) for noise in (0.0, 0.2))
    by = moved.inputs - still.inputs
    assert_same_bits(moved.targets, still.targets)
    assert by.std(0).tolist() == pytest.approx([0.2, 0.2], rel=0.05)
    assert by.mean(0).tolist() == pytest.approx([0, 0], abs=0.01)
    assert abs(torch.corrcoef(by.T)[0, 1]) < 0.05


@pytest.mark.parametrize("draw_points", [fm.datasets.moons, fm.datasets.spirals, fm.datasets.rings])
def test_classes_come_in_turn(draw_points) -> None:
    assert draw_points(KEY, 5).labels.tolist() == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("draw_points", [fm.datasets.spirals, fm.datasets.rings])
def test_there_are_as_many_classes_as_are_asked_for(draw_points) -> None:
    data = draw_points(KEY, 8, classes=3)
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert data.targets.shape == (8, 3)


def test_checkers_are_squares_of_two_colours() -> None:
    data = fm.datasets.checkers(KEY, 2000, squares=3)
    for (x, y), label in zip(data.inputs.tolist(), data.labels.tolist(), strict=True):
        assert label == (sum(x > edge for edge in (1 / 3, 2 / 3)) + sum(y > edge for edge in (1 / 3, 2 / 3))) % 2
    assert data.labels.double().mean().item() == pytest.approx(4 / 9, abs=0.03)


def test_moons_are_half_circles_that_reach_into_each_other() -> None:
    data = fm.datasets.moons(KEY, 2000, dtype=torch.float64)
    for label, middle, side in ((0, (4 / 12, 5 / 12), 1), (1, (8 / 12, 7 / 12), -1)):
        points = data.inputs[data.labels == label] - torch.tensor(middle, dtype=torch.float64)
        torch.testing.assert_close(points.norm(dim=1), torch.full((1000,), 1 / 3, dtype=torch.float64))
        assert (side * points[:, 1]).min() > -1e-12
        assert points[:, 0].mean().abs() < 0.02  # from one end to the other


@pytest.mark.parametrize(("classes", "turns"), [(2, 1.5), (3, 0.75)])
def test_spirals_wind_with_the_distance(classes: int, turns: float) -> None:
    data = fm.datasets.spirals(KEY, 1200, classes=classes, turns=turns, dtype=torch.float64)
    angle, radius = angle_and_radius(data.inputs)
    off = angle - 2 * turns * radius - data.labels / classes
    assert (off - off.round()).abs().max() < 1e-9
    # Half of the points are in the half of the disk's area that is nearest to the middle.
    assert (radius < math.sqrt(0.125)).double().mean().item() == pytest.approx(0.5, abs=0.05)


def test_rings_are_circles_around_one_middle() -> None:
    data = fm.datasets.rings(KEY, 999, classes=3, dtype=torch.float64)
    angle, radius = angle_and_radius(data.inputs)
    torch.testing.assert_close(radius, (data.labels + 1).double() / 6)
    assert angle.histc(4, -0.5, 0.5).min() > 200


def with_entry(value: float, row: int, column: int) -> torch.Tensor:
    x = torch.zeros(4, 3)
    x[row:, column] = value
    return x


@pytest.mark.parametrize(
    ("call", "error", "fragments"),
    [
        refusal(
            "NaN",
            lambda: fm.Dataset(with_entry(math.nan, 2, 1), INDICES),
            ValueError,
            "inputs",
            "nan",
            "row 2, column 1",
        ),
        refusal(
            "infinity", lambda: fm.Dataset(with_entry(-math.inf, 0, 2), INDICES), ValueError, "-inf", "row 0, column 2"
        ),
        refusal(
            "NaN in targets",
            lambda: fm.Dataset(X, with_entry(math.nan, 3, 0)),
            ValueError,
            "targets",
            "row 3, column 0",
        ),
        refusal("no rows", lambda: fm.Dataset(X[:0], INDICES[:0]), ValueError, "inputs", "empty", "(0, 3)"),
        refusal("no features", lambda: fm.Dataset(X[:, :0], INDICES), ValueError, "inputs", "empty", "(4, 0)"),
        refusal("no outputs", lambda: fm.Dataset(X, X[:, :0]), ValueError, "targets", "empty", "(4, 0)"),
        refusal("lengths", lambda: fm.Dataset(X, INDICES[:3]), ValueError, "one length", "4 and 3"),
        refusal("one dimension", lambda: fm.Dataset(X[0], INDICES), ValueError, "inputs", "(n, features)", "(3,)"),
        refusal("0-d", lambda: fm.Dataset(X[0, 0], INDICES), ValueError, "inputs", "(n, features)", "()"),
        refusal("0-d targets", lambda: fm.Dataset(X, INDICES[0]), ValueError, "targets", "(n, outputs)", "()"),
        refusal("3-d targets", lambda: fm.Dataset(X, X[..., None]), ValueError, "targets", "(n, outputs)", "(4, 3, 1)"),
        refusal("negative label", lambda: fm.Dataset(X, INDICES - 1), ValueError, "targets", "negative", "-1", "[0]"),
        refusal(
            "float indices",
            lambda: fm.Dataset(X, INDICES.float()),
            ValueError,
            "integer dtype",
            "torch.float32",
            ".to(torch.int64)",
        ),
        refusal("dtypes", lambda: fm.Dataset(X, X.double()), ValueError, "one dtype", "torch.float64", "torch.float32"),
        refusal(
            "many-hot integers", lambda: fm.Dataset(X, torch.ones(4, 2).int()), ValueError, "one-hot", "[1, 1]", "[0]"
        ),
        *(
            refusal(f"{what} for rows", lambda rows=rows: fm.Dataset(X, INDICES)[rows], TypeError, "rows must be", got)
            for what, rows, got in (
                ("words", "ab", "'ab', a str"),
                ("floats", np.ones(2), "float64"),
                ("a float", 1.0, "1.0, a float"),
                ("a table", INDICES.reshape(2, 2), "(2, 2)"),
            )
        ),
        refusal("another device", lambda: fm.Dataset(X, INDICES.to("meta")), ValueError, "targets", "meta"),
        *(
            refusal(f"{kind} inputs", lambda bad=bad: fm.Dataset(bad, INDICES), ValueError, "inputs", name)
            for kind, (bad, name) in unusable_tensors((4, 3)).items()
        ),
        *(
            refusal(f"{kind} targets", lambda bad=bad: fm.Dataset(X, bad), ValueError, "targets", name)
            for kind, (bad, name) in unusable_tensors((4, 3)).items()
            if kind != "integer"
        ),
        refusal("lists", lambda: fm.Dataset([[1.0]], INDICES), TypeError, "inputs", "torch.Tensor", "a list"),
        refusal("words", lambda: fm.Dataset(X, np.array(["a", "b", "a", "b"])), TypeError, "targets", "numbers", "<U1"),
        refusal(
            "masked", lambda: fm.Dataset(np.ma.masked_invalid(X.numpy()), INDICES), TypeError, "inputs", ".filled("
        ),
        *(
            refusal(f"{what} weights", lambda given=given: fm.Dataset(X, INDICES, given), error, "weights", *fragments)
            for what, given, error, *fragments in (
                ("negative", torch.tensor([1.0, -2.0, 1.0, 1.0]), ValueError, "not negative", "-2.0 in row 1"),
                ("NaN", torch.tensor([1.0, 1.0, math.nan, 1.0]), ValueError, "finite", "nan in row 2"),
                ("infinite", torch.tensor([math.inf, 1.0, 1.0, 1.0]), ValueError, "finite", "inf in row 0"),
                ("zero", torch.zeros(4), ValueError, "not all be 0"),
                ("too few", torch.ones(3), ValueError, "(4,)", "(3,)"),
                ("a column of", torch.ones(4, 1), ValueError, "(4,)", "(4, 1)"),
                ("complex", torch.ones(4) + 0j, ValueError, "real", "complex64"),
                ("a list of", [1.0] * 4, TypeError, "torch.Tensor", "a list"),
            )
        ),
        refusal("no labels", lambda: fm.datasets.balanced_weights(INDICES[:0]), ValueError, "labels", "(n,)", "(0,)"),
        refusal("labels that are values", lambda: fm.datasets.balanced_weights(X), ValueError, "labels", "(4, 3)"),
        refusal("labels of floats", lambda: fm.datasets.balanced_weights(X[0]), ValueError, "class indices", "float32"),
        refusal("disk of an int key", lambda: fm.datasets.disk(0), TypeError, "Key", "0, an int", "random.key(seed)"),
        *(
            refusal(f"{make.__name__} of {what}", call, error, f"{make.__name__}: {word}", fragment)
            for make in PLANE
            for what, call, error, word, fragment in [
                ("half a point", lambda make=make: make(KEY, 0.5), TypeError, "n", "0.5, a float"),
                (
                    "noise that a dtype has no numbers for",
                    lambda make=make: make(KEY, 5, noise=1e5, dtype=torch.float16),
                    ValueError,
                    "8.25 noise must be a finite number in [-32752.0",
                    "or a wider dtype",
                ),
                ("negative noise", lambda make=make: make(KEY, 5, noise=-0.1), ValueError, "noise", "-0.1"),
                ("a bad device", lambda make=make: make(KEY, 5, device="nope"), ValueError, "device", "'nope'"),
            ]
        ),
        refusal("one square", lambda: fm.datasets.checkers(KEY, 5, squares=1), ValueError, "squares", "at least 2"),
        refusal("one ring", lambda: fm.datasets.rings(KEY, 5, classes=1), ValueError, "rings: classes", "at least 2"),
        refusal("no turn", lambda: fm.datasets.spirals(KEY, 5, turns=0), ValueError, "spirals: turns", "0"),
        refusal("disk of no points", lambda: fm.datasets.disk(KEY, 0), ValueError, "disk: n", "positive integer", "0"),
        refusal("disk of True points", lambda: fm.datasets.disk(KEY, True), TypeError, "disk: n", "True, a bool"),
        refusal(
            "disk of no radius", lambda: fm.datasets.disk(KEY, 5, radius=0), ValueError, "disk: radius", "(0.0", "0"
        ),
        refusal("disk of NaN", lambda: fm.datasets.disk(KEY, 5, radius=math.nan), ValueError, "disk: radius", "nan"),
        refusal(
            "center of a number", lambda: fm.datasets.disk(KEY, 5, center=0.5), TypeError, "center", "0.5, a float"
        ),
        refusal(
            "center of three", lambda: fm.datasets.disk(KEY, 5, center=(0, 0, 0)), TypeError, "center", "two numbers"
        ),
        refusal("center of NaN", lambda: fm.datasets.disk(KEY, 5, center=(0, math.nan)), ValueError, "center", "nan"),
        refusal(
            "disk of integers", lambda: fm.datasets.disk(KEY, 5, dtype=torch.int32), ValueError, "floating", "int32"
        ),
        refusal("disk nowhere", lambda: fm.datasets.disk(KEY, 5, device="nope"), ValueError, "device", "'nope'"),
        refusal("disk without data", lambda: fm.datasets.disk(KEY, 5, device="meta"), ValueError, "meta"),
    ],
)
def test_bad_input_is_refused(call, error, fragments) -> None:
    check_refused(call, error, fragments)
