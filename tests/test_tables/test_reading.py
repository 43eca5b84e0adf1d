"""Reading tables: what comes out of a good one, and what is said about a bad one."""

import sys
from fractions import Fraction
from pathlib import Path

import mpmath
import polars
import pytest
import torch

import functional_mlp as fm
from functional_mlp.tables import Standardization, Table, read_table, split_table, stratified_split

KEY = fm.random.key(0)


def write_csv(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_csv_file_gives_features_labels_and_classes(tmp_path):
    path = write_csv(tmp_path, "size,kind,weight\n1,cat,10\n2.5,dog,2e1\n-3, cat ,30\n4,dog,+40\n")
    table = read_table(path, "kind")
    assert table.features == ("size", "weight")
    assert table.values.tolist() == [[1.0, 10.0], [2.5, 20.0], [-3.0, 30.0], [4.0, 40.0]]
    assert table.values.dtype == torch.float64
    assert table.classes == ("cat", "dog")
    assert table.labels.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("cells", "classes", "labels"),
    [
        (["10", "9", "10", "9"], ("9", "10"), [1, 0, 1, 0]),
        (["2", "2.0", "0.5", "0.5"], ("0.5", "2"), [1, 1, 0, 0]),
        (["b", "10", "b", "10"], ("10", "b"), [1, 0, 1, 0]),
    ],
)
def test_numbers_are_ordered_by_value_and_words_by_the_alphabet(tmp_path, cells, classes, labels):
    path = write_csv(tmp_path, "x,t\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    table = read_table(path, "t")
    assert (table.classes, table.labels.tolist()) == (classes, labels)


@pytest.mark.parametrize("dtype", [polars.Int8, polars.UInt64, polars.Float32, polars.Decimal(10, 2)])
def test_a_parquet_file_gives_the_same_as_a_csv_file(tmp_path, dtype):
    frame = polars.DataFrame({"x": [1, 2, 3, 4], "t": ["a", "b", "a", "b"]})
    frame.with_columns(polars.col("x").cast(dtype)).write_parquet(tmp_path / "table.parquet")
    frame.write_csv(tmp_path / "table.csv")
    tables = [read_table(tmp_path / name, "t") for name in ("table.parquet", "table.csv")]
    assert tables[0].values.equal(tables[1].values)
    assert tables[0].labels.equal(tables[1].labels)
    assert tables[0].classes == tables[1].classes


def test_lines_without_values_are_skipped_and_counted(tmp_path):
    path = write_csv(tmp_path, "x,t\n1,a\n\n2,b\n,\n3,a\noops,b\n\n")
    with pytest.raises(ValueError, match="column 'x' must hold numbers, got 'oops' in row 7"):
        read_table(path, "t")


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    path = write_csv(tmp_path, b"\xef\xbb\xbfx,t\r\n1,a\r\n2,b\r\n3,a\r\n4,b\r\n")
    assert read_table(str(path), "t").features == ("x",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: a header and at least four rows are needed"),
        ("\n\n", "is empty"),
        ("x,t\n", "has no rows"),
        ("x,t\n,\n\n", "has no rows"),
        ("x,y\n1,2\n", "there is no column 't': the columns are 'x', 'y'"),
        ("x;t\n1;2\n", "the columns are 'x;t'; columns must be separated by commas"),
        ("t\na\nb\n", "a feature is needed beside the target, got the one column 't'"),
        ("x,x,t\n1,2,a\n", "two columns are named 'x'"),
        ("x,t\n1,a\n2,b,c\n", "cannot be read as a csv file"),
        (b"x,t\n1,\xff\n", "cannot be read as a csv file"),
        ("x,t\n1,a\n,b\n3,a\n4,b\n", "column 'x' has no value in row 3"),
        ("x,t\n1,a\n2,b\n3\n4,b\n", "column 't' has no value in row 4"),
        ('x,t\n1,a\n2,b\n3,"  "\n4,b\n', "column 't' has no value in row 4"),
        ("x,t\n1,a\nred,b\n3,a\n4,b\n", "column 'x' must hold numbers, got 'red' in row 3"),
        ('x,t\n1,a\n"2,5",b\n3,a\n4,b\n', "got '2,5' in row 3: write numbers with a decimal point"),
        ("x,t\n1,a\n2,b\nnan,a\n4,b\n", "column 'x' must be finite, got nan in row 4"),
        ("x,t\n1,a\n2,b\n3,a\n-inf,b\n", "column 'x' must be finite, got -inf in row 5"),
        ("x,t\n1,0\n2,1\n3,nan\n4,1\n", "column 't' must be finite, got nan in row 4"),
        ("x,y,z,t\n1,5,0,a\n2,5,0,b\n3,5,0,a\n4,5,0,b\n", "leave out 'y', 'z'"),
        ("x,t\n1,a\n2,a\n", "column 't' holds one class only, 'a'"),
        ("x,t\n1,a\n2,b\n3,a\n", "class 'b' of column 't' is seen only once, in row 3"),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_column_or_row(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_table(write_csv(tmp_path, text), "t")
    assert "table.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1.0, None, 3.0, 4.0]}, "column 'x' has no value in row 2"),
        ({"x": [1.0, 2.0, float("nan"), 4.0]}, "column 'x' must be finite, got nan in row 3"),
        ({"x": ["1", "two", "3", "4"]}, "column 'x' must hold numbers, got 'two' in row 2"),
        ({"x": [[1], [2], [3], [4]]}, r"column 'x' must hold numbers or words, got List\(Int64\)"),
    ],
)
def test_a_bad_parquet_file_is_refused_with_its_column_or_row(tmp_path, columns, message):
    path = tmp_path / "table.parquet"
    polars.DataFrame({**columns, "t": [0, 1, 0, 1]}).write_parquet(path)
    with pytest.raises(ValueError, match=message):
        read_table(path, "t")


def test_a_file_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: there is no such file"):
        read_table(tmp_path / "none.csv", "t")
    with pytest.raises(ValueError, match=r"must be a \.csv or a \.parquet file, got '\.xlsx'"):
        read_table(tmp_path / "table.xlsx", "t")
    with pytest.raises(ValueError, match="cannot be read as a parquet file"):
        read_table(write_csv(tmp_path, "x,t\n1,2\n", "table.parquet"), "t")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "folder.csv", "t")


def test_without_polars_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match=r"functional-mlp\[table\]"):
        read_table(write_csv(tmp_path, "x,t\n"), "t")


def random_table(tmp_path: Path, rows: int = 40) -> Table:
    values = fm.random.normal(KEY, (rows, 2), 100.0, 5.0, dtype=torch.float64).tolist()
    lines = [f"{a},{b},{'abc'[i % 3]}" for i, (a, b) in enumerate(values)]
    return read_table(write_csv(tmp_path, "x,y,t\n" + "\n".join(lines)), "t")


def test_the_training_part_alone_determines_the_standardization(tmp_path):
    table = random_table(tmp_path)
    parts = split_table(table, KEY, validation_share=0.25, dtype=torch.float64)
    training_rows, validation_rows = stratified_split(KEY, table.labels, 0.25)
    expected = table.values[training_rows]
    assert parts.standardization.features == ("x", "y")
    assert parts.standardization.mean == pytest.approx(expected.mean(0).tolist())
    assert parts.standardization.std == pytest.approx(expected.std(0, correction=0).tolist())
    assert parts.training.inputs.mean(0).tolist() == pytest.approx([0, 0], abs=1e-12)
    assert parts.training.inputs.std(0, correction=0).tolist() == pytest.approx([1, 1])
    assert parts.validation.inputs.equal(parts.standardization.apply(table.values[validation_rows]))
    assert parts.training.labels.equal(table.labels[training_rows])
    assert parts.classes == ("a", "b", "c")


def test_the_split_depends_on_its_key_alone(tmp_path):
    table = random_table(tmp_path)
    first, again = (split_table(table, KEY) for _ in range(2))
    other = split_table(table, fm.random.key(1))
    assert first.training.inputs.equal(again.training.inputs)
    assert not first.training.inputs.equal(other.training.inputs)


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_both_parts_hold_every_row_once_and_every_class(share):
    labels = torch.tensor([0, 0, 1, 1, 1, 2] + [2] * 30)
    training, validation = stratified_split(KEY, labels, share)
    assert torch.cat([training, validation]).sort().values.tolist() == list(range(36))
    for rows in (training, validation):
        assert labels[rows].unique().tolist() == [0, 1, 2]


def test_a_share_of_zero_leaves_no_validation_part(tmp_path):
    parts = split_table(random_table(tmp_path), KEY, validation_share=0.0)
    assert parts.validation is None
    assert len(parts.training) == 40


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=r"validation share must be a finite number in \[0\.0, 1\.0\)"):
        stratified_split(KEY, torch.tensor([0, 0, 1, 1]), share)


def test_a_feature_that_is_constant_in_the_training_part_is_refused(tmp_path):
    path = write_csv(tmp_path, "x,y,t\n1,0,a\n2,0,a\n3,0,b\n4,7,b\n")
    table = read_table(path, "t")
    refused = 0
    for seed in range(8):
        training_rows, _ = stratified_split(fm.random.key(seed), table.labels, 0.5)
        if 3 not in training_rows.tolist():
            refused += 1
            with pytest.raises(ValueError, match="column 'y' cannot be standardized"):
                split_table(table, fm.random.key(seed), validation_share=0.5)
    assert refused > 0


def exact_figures(column):
    """The mean and the standard deviation, from fractions."""
    numbers = [Fraction(number) for number in column.tolist()]
    mean = sum(numbers) / len(numbers)
    variance = sum((number - mean) ** 2 for number in numbers) / len(numbers)
    with mpmath.workdps(700):  # squares of the smallest numbers have 650 places
        return mpmath.mpf(mean.numerator) / mean.denominator, mpmath.sqrt(
            mpmath.mpf(variance.numerator) / variance.denominator
        )


@pytest.mark.parametrize(
    ("mean", "scale"),
    [
        *((0.0, scale) for scale in (1e-320, 1e-300, 1e-154, 1.0, 1e154, 1e300)),
        *((1e12, scale) for scale in (1e-2, 1.0, 1e6)),
        (-1e12, 1.0),
        (1e300, 1e290),
        (1e-300, 1e-308),
        (1e8, 1e-6),
    ],
)
def test_columns_of_any_size_and_mean_are_standardized_exactly(mean, scale):
    generator = torch.Generator().manual_seed(0)
    column = mean + scale * torch.randn(200, dtype=torch.float64, generator=generator)
    standardization = Standardization.learn(("x",), column[:, None])
    exact_mean, exact_std = exact_figures(column)
    (learnt_mean,), (learnt_std,) = standardization.mean, standardization.std
    tolerance = max(1e-12, 2 * sys.float_info.min * sys.float_info.epsilon / scale)  # what is denormal has fewer digits
    assert abs(learnt_mean - exact_mean) <= 1e-12 * abs(exact_mean) + tolerance * exact_std
    assert abs(learnt_std / exact_std - 1) <= tolerance
    for number, applied in zip(column.tolist(), standardization.apply(column[:, None])[:, 0].tolist(), strict=True):
        exact = (mpmath.mpf(number) - mpmath.mpf(learnt_mean)) / mpmath.mpf(learnt_std)
        assert abs(applied - exact) <= 1e-12 * abs(exact)


def test_numbers_at_both_ends_of_the_range_are_standardized():
    largest = sys.float_info.max
    values = torch.tensor([[largest], [-largest], [largest], [-largest]], dtype=torch.float64)
    standardization = Standardization.learn(("x",), values)
    assert (standardization.mean, standardization.std) == ((0.0,), (largest,))
    assert standardization.apply(values)[:, 0].tolist() == [1.0, -1.0, 1.0, -1.0]
    shifted = Standardization(("x",), (-largest,), (largest,))
    assert shifted.apply(values)[:, 0].tolist() == [2.0, 0.0, 2.0, 0.0]


@pytest.mark.parametrize("size", [1e-30, 0.1, 1e12, -1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_column_that_varies_by_rounding_alone_is_refused(size, dtype):
    value = torch.tensor(size, dtype=dtype)
    noisy = torch.stack([value, torch.nextafter(value, 2 * value), value])[:, None]
    with pytest.raises(ValueError, match=r"column 'x' cannot be standardized: over the 3 rows .* up to rounding"):
        Standardization.learn(("x",), noisy)
    step = 100 * torch.finfo(dtype).eps * value.abs()
    assert Standardization.learn(("x",), torch.stack([value, value + step])[:, None]).std[0] > 0


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_standardization_of_what_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match=r"values must be finite, got .* in row 1, column 0"):
        Standardization.learn(("x",), torch.tensor([[1.0], [bad]]))


def test_a_standardization_is_a_plain_value():
    standardization = Standardization(("x",), (2.0,), (4.0,))
    assert standardization == Standardization(("x",), (2.0,), (4.0,))
    assert standardization.apply(torch.tensor([[10.0]], dtype=torch.float64)).tolist() == [[2.0]]
