"""Training and validation parts of tables."""

import pytest
import torch

import functional_mlp as fm
from functional_mlp.tables import (
    LeftOut,
    Preparation,
    Table,
    read_table,
    split_table,
    stratified_folds,
    stratified_split,
)
from tests.test_tables.files import column, write

KEY = fm.random.key(0)


def random_table(folder, rows: int = 40) -> Table:
    values = fm.random.normal(KEY, (rows, 2), 100.0, 5.0, dtype=torch.float64).tolist()
    lines = [f"{a},{b},{'abc'[i % 3]}" for i, (a, b) in enumerate(values)]
    return read_table(write(folder, "x,y,t\n" + "\n".join(lines)), "t")


def test_the_training_part_alone_determines_the_preparation(tmp_path):
    table = random_table(tmp_path)
    parts = split_table(table, KEY, validation_share=0.25, dtype=torch.float64)
    training_rows, validation_rows = stratified_split(KEY, table.labels, 0.25)
    assert parts.preparation == Preparation.learn(table.columns[training_rows.numpy()])
    assert parts.training.inputs.mean(0).tolist() == pytest.approx([0, 0], abs=1e-12)
    assert parts.training.inputs.std(0, correction=0).tolist() == pytest.approx([1, 1])
    assert parts.validation.inputs.equal(parts.preparation.apply(table.columns[validation_rows.numpy()], torch.float64))
    assert parts.training.labels.equal(table.labels[training_rows])
    assert parts.classes == ("a", "b", "c")


def test_quantities_are_standardized_by_the_training_part(tmp_path):
    table = read_table(write(tmp_path, column([f"{1000 + i * i}.5" for i in range(40)])), "t")
    parts = split_table(table, KEY, dtype=torch.float64)
    training_rows, validation_rows = stratified_split(KEY, torch.zeros(40, dtype=torch.int64), 0.2)
    own = table.quantities[training_rows]
    assert parts.target_scale.mean == pytest.approx(own.mean().item())
    assert parts.training.targets[:, 0].tolist() == pytest.approx(((own - own.mean()) / own.std(correction=0)).tolist())
    back = parts.validation.targets[:, 0] * parts.target_scale.std + parts.target_scale.mean
    assert back.tolist() == pytest.approx(table.quantities[validation_rows].tolist())


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


@pytest.mark.parametrize("folds", [2, 3, 5])
def test_each_row_is_in_one_fold(folds):
    labels = torch.tensor([0] * 20 + [1] * 7 + [2])
    parts = stratified_folds(KEY, labels, folds)
    assert torch.cat([own for _, own in parts]).sort().values.tolist() == list(range(27))
    for others, own in parts:
        assert torch.cat([others, own]).sort().values.tolist() == list(range(28))
        assert abs(len(own) - 27 / folds) < 1
        assert 27 in others  # of a class that is seen once
        assert abs(int((labels[own] == 0).sum()) - 20 / folds) < 1
    with pytest.raises(ValueError, match="28 folds need 28 rows of classes that are seen more than once, got 27"):
        stratified_folds(KEY, labels, 28)
    with pytest.raises(ValueError, match="got 0"):
        stratified_folds(KEY, torch.arange(4), 2)


def test_a_share_of_zero_leaves_no_validation_part(tmp_path):
    parts = split_table(random_table(tmp_path), KEY, validation_share=0.0)
    assert parts.validation is None
    assert len(parts.training) == 40


@pytest.mark.parametrize("share", [1.0, -0.1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=r"validation share must be a finite number in \[0\.0, 1\.0\)"):
        stratified_split(KEY, torch.tensor([0, 0, 1, 1]), share)


def test_a_class_seen_once_is_in_the_training_part(tmp_path):
    table = read_table(write(tmp_path, column(["a", "b"] * 10 + ["c"])), "t")
    for seed in range(5):
        parts = split_table(table, fm.random.key(seed))
        assert parts.training.labels.unique().tolist() == [0, 1, 2]
        assert parts.notes == ("seen once, and so in the training part alone: 'c'",)


def test_a_feature_that_is_constant_in_the_training_part_is_left_out(tmp_path):
    table = read_table(write(tmp_path, "x,y,t\n1,0,a\n5,0,a\n3,0,b\n4,7,b\n"), "t")
    left_out = 0
    for seed in range(8):
        training_rows, _ = stratified_split(fm.random.key(seed), table.labels, 0.5)
        parts = split_table(table, fm.random.key(seed), validation_share=0.5)
        if 3 not in training_rows.tolist():
            left_out += 1
            assert parts.preparation.left_out == (LeftOut("y", "it is 0 throughout"),)
            assert parts.notes == ("'y' left out: it is 0 throughout",)
        else:
            assert parts.preparation.features == ("x", "y")
    assert left_out > 0


def test_there_must_be_something_to_learn(tmp_path):
    with pytest.raises(ValueError, match="there is nothing to learn without a target"):
        split_table(read_table(write(tmp_path, column(["a", "b"]))), KEY)
    path = write(tmp_path, column(["2.5"] * 8))
    with pytest.raises(ValueError, match=r"the target 't' is 2\.5 in all rows of the training part"):
        split_table(read_table(path, "t", task="regression"), KEY)
