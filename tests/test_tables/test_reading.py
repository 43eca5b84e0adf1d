"""Reading tables: what comes out of a good one, and what is said about a bad one."""

import gzip
import sys

import polars
import pytest
import torch

from functional_mlp.tables import Preparation, Table, read_table
from tests.test_tables.files import column, write


def values(table: Table) -> list[tuple]:
    return table.columns.rows()


@pytest.mark.parametrize(
    ("text", "options", "notes"),
    [
        (
            'a,b,t\n1.5,"1,5",x\n2.5,"2,5",y\n',
            {},
            (
                "'b' is taken for words: its numbers have decimal commas, '1,5' the first; "
                "give ',' as the decimal mark to take them for numbers",
            ),
        ),
        (
            "a;b;t\n1,5;1.5;x\n2,5;2.5;y\n",
            {"decimal": ",", "separator": ";"},
            (
                "'b' is taken for words: its numbers have decimal points, '1.5' the first; "
                "give '.' as the decimal mark to take them for numbers",
            ),
        ),
        ('a,b,t\n1.5,"1,5",x\n2.5,"2,5 m",y\n', {}, ()),
    ],
)
def test_numbers_with_the_other_decimal_mark_are_noted(tmp_path, text, options, notes):
    assert read_table(write(tmp_path, text), "t", **options).notes == notes


def test_a_csv_file_gives_features_labels_and_classes(tmp_path):
    path = write(tmp_path, "size,kind,weight\n1,cat,10\n2.5,dog,2e1\n-3, cat ,30\n4,dog,+40\n")
    table = read_table(path, "kind")
    assert (table.features, table.task, len(table)) == (("size", "weight"), "classification", 4)
    assert values(table) == [(1.0, 10.0), (2.5, 20.0), (-3.0, 30.0), (4.0, 40.0)]
    assert (table.classes, table.labels.tolist()) == (("cat", "dog"), [0, 1, 0, 1])
    assert table.rows.to_list() == [2, 3, 4, 5]


@pytest.mark.parametrize(
    "names",
    [
        ["9", "10"],
        ["b", "10x"],
        ["007", "7", "8"],
        ["1.1", "1.10", "1.2"],
        ["2.0", "2"],
        ["9007199254740992", "9007199254740993", "5"],
        ["100000", "1e5", "2"],
        ["0e1", "0e2", "3"],
        ["00501", "02139"],
        ["True", "False"],
    ],
)
def test_classes_are_the_distinct_texts(tmp_path, names):
    cells = names * 4
    table = read_table(write(tmp_path, column(cells)), "t")
    assert set(table.classes) == set(names)
    assert [table.classes[label] for label in table.labels] == cells
    polars.DataFrame({"x": [7.0 * i % 11 for i in range(len(cells))], "t": cells}).write_parquet(tmp_path / "t.parquet")
    again = read_table(tmp_path / "t.parquet", "t")
    assert (again.classes, again.labels.tolist()) == (table.classes, table.labels.tolist())


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        ([2**53, 2**53 + 1, 5], ("5", str(2**53), str(2**53 + 1))),
        ([True, False], ("false", "true")),
        ([1.0, 2.0], ("1", "2")),
        ([0.5, 1.0], ("0.5", "1")),
        ([2.0**53, 1.0], ("1", "9007199254740992.0")),
        ([10, 9], ("9", "10")),
    ],
)
def test_classes_of_a_parquet_file_are_exact(tmp_path, cells, classes):
    polars.DataFrame({"x": [7.0 * i % 11 for i in range(4 * len(cells))], "t": cells * 4}).write_parquet(
        tmp_path / "t.parquet"
    )
    assert read_table(tmp_path / "t.parquet", "t").classes == classes


def test_numbers_are_ordered_by_value_and_words_by_the_alphabet(tmp_path):
    assert read_table(write(tmp_path, column(["10", "9", "10", "9"])), "t").classes == ("9", "10")
    assert read_table(write(tmp_path, column(["b", "10", "b", "10"])), "t").classes == ("10", "b")


@pytest.mark.parametrize(
    ("cells", "task"),
    [
        (["a", "b"] * 20, "classification"),
        ([str(i % 20) for i in range(60)], "classification"),
        ([str(i % 21) for i in range(60)], "regression"),
        ([f"{i / 7}" for i in range(12)], "regression"),
        ([f"{i:05}" for i in range(30)], "classification"),
        (["NA", *(f"{i}.5" for i in range(30))], "regression"),
        ([*(f"{i}.5" for i in range(30)), "many"], "classification"),
    ],
)
def test_numbers_that_are_many_are_a_quantity(tmp_path, cells, task):
    path = write(tmp_path, column(cells))
    table = read_table(path, "t")
    assert table.task == task
    assert any("taken for a quantity" in note for note in table.notes) == (task == "regression")
    if task == "regression":
        own = [float(cell) for cell in cells if cell != "NA"]
        assert table.quantities.tolist() == own
        assert read_table(path, "t", task="classification").classes == tuple(
            sorted({cell for cell in cells if cell != "NA"}, key=float)
        )


def test_words_are_no_quantity(tmp_path):
    path = write(tmp_path, column(["1", "2", "three", "4"]))
    with pytest.raises(ValueError, match="'t' must hold finite numbers to be a quantity, got 'three' in row 4"):
        read_table(path, "t", task="regression")


@pytest.mark.parametrize("word", ["", "NA", "NaN", "?", "null", " NA "])
def test_missing_values_are_null_and_rows_without_a_target_are_left_out(tmp_path, word):
    path = write(tmp_path, f"x,c,t\n1.5,red,a\n{word},blue,b\n2.5,{word},a\n0.5,red,{word}\n3.5,red,b\n")
    table = read_table(path, "t")
    assert values(table) == [(1.5, "red"), (None, "blue"), (2.5, None), (3.5, "red")]
    assert table.labels.tolist() == [0, 1, 0, 1]
    assert table.rows.to_list() == [2, 3, 4, 6]
    assert table.notes == ("1 row without a value of 't' left out",)


@pytest.mark.parametrize(
    ("text", "cells", "notes"),
    [
        ("x\n0.5\nNA\n1.5\n", [(0.5,), (None,), (1.5,)], ()),
        ("x,y\n0.5,1\nNA,?\n1.5,2\n", [(0.5, 1.0), (None, None), (1.5, 2.0)], ()),
        ("x\n0.5\n\n1.5\n\n", [(0.5,), (1.5,)], ("1 blank line left out",)),
        ("x,y\n\n0.5,7\n,\n1.5,2\n\n", [(0.5, 7.0), (1.5, 2.0)], ("2 blank lines left out",)),
        (
            "x,y,z\n0.5,1,3\n2\n1.5,2,\n2.5,1\n",
            [(0.5, 1.0, 3.0), (2.0, None, None), (1.5, 2.0, None), (2.5, 1.0, None)],
            (
                "2 rows with fewer cells than the header, row 3 the first: the others are missing, and the file may be "
                "cut off in the last row",
            ),
        ),
        (
            'x,y,z\n0.5,"7",\n\n2,"3"\n1.5,2,1\n',
            [(0.5, 7.0, None), (2.0, 3.0, None), (1.5, 2.0, 1.0)],
            (
                "1 blank line left out",
                "1 row with fewer cells than the header, row 4 the first: the others are missing",
            ),
        ),
    ],
)
def test_each_row_is_read_and_what_is_none_is_counted(tmp_path, text, cells, notes):
    table = read_table(write(tmp_path, text))
    assert (values(table), table.notes) == (cells, notes)


def test_rows_of_a_parquet_file_may_be_without_values(tmp_path):
    polars.DataFrame({"x": [1.0, None, 3.5]}).write_parquet(tmp_path / "table.parquet")
    assert values(read_table(tmp_path / "table.parquet")) == [(1.0,), (None,), (3.5,)]


def test_columns_may_be_asked_for_twice(tmp_path):
    table = read_table(write(tmp_path, "x,y\n1,2\n3,5\n"), features=["y", "y"], beside=["x", "x"])
    assert (values(table), table.beside.columns) == ([(2.0,), (5.0,)], ["x"])


def test_more_words_may_stand_for_a_missing_value(tmp_path):
    path = write(tmp_path, "x,t\n1.5,a\n-,b\n2.5,a\n3.5,b\n")
    assert read_table(path, "t", na=["-"]).columns["x"].to_list() == [1.5, None, 2.5, 3.5]


@pytest.mark.parametrize("dtype", [polars.Int8, polars.UInt64, polars.Float32, polars.Decimal(10, 2)])
def test_a_parquet_file_gives_the_same_as_a_csv_file(tmp_path, dtype):
    frame = polars.DataFrame({"x": [3, 1, 2, 4], "t": ["a", "b", "a", "b"]})
    frame.with_columns(polars.col("x").cast(dtype)).write_parquet(tmp_path / "table.parquet")
    frame.write_csv(tmp_path / "table.csv")
    tables = [read_table(tmp_path / name, "t") for name in ("table.parquet", "table.csv")]
    assert values(tables[0]) == values(tables[1])
    assert tables[0].labels.equal(tables[1].labels)


def test_columns_are_of_numbers_words_or_dates(tmp_path):
    text = "n,w,d,s,b,t\n1,x,2020-01-31,2020-01-31 10:30:00,true,a\n2.5,1a,2021-02-01,2020-01-31 11:00:00,false,b\n"
    table = read_table(write(tmp_path, text), "t")
    kinds = [polars.Float64, polars.String, polars.Datetime("us"), polars.Datetime("us"), polars.String]
    assert table.columns.dtypes == kinds
    assert table.columns["d"].dt.month().to_list() == [1, 2]
    assert table.columns["s"].dt.hour().to_list() == [10, 11]


def test_rows_are_numbered_as_in_the_file(tmp_path):
    rows = "".join(f"{i}.5,a\n{i}.25,b\n" for i in range(10))
    path = write(tmp_path, f"x,t\n1.5,a\n\n2.5,b\n,\n{rows}oops,b\n\n")
    with pytest.raises(ValueError, match="column 'x' must hold numbers, got 'oops' in row 26"):
        read_table(path, "t")
    assert read_table(path, "t", na=["oops"]).rows.to_list() == [2, 4, *range(6, 27)]


def test_a_column_with_some_numbers_is_one_of_words(tmp_path):
    path = write(tmp_path, "x,t\n17,a\n17,b\n17A,a\n18,b\n")
    assert read_table(path, "t").columns["x"].to_list() == ["17", "17", "17A", "18"]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_files_are_read_as_they_are_written(tmp_path, ends, encoding, suffix):
    content = ends.join(["größe,t", "1.5,ä", "2.5,b", "0.5,ä", "3.5,b", ""]).encode(encoding)
    path = write(tmp_path, gzip.compress(content) if suffix.endswith("gz") else content, f"table{suffix}")
    table = read_table(str(path), "t")
    assert (table.features, table.classes) == (("größe",), ("b", "ä"))
    assert table.columns["größe"].to_list() == [1.5, 2.5, 0.5, 3.5]


def test_other_encodings_are_named(tmp_path):
    path = write(tmp_path, "größe,t\n1.5,a\n2.5,b\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"is not UTF-8: .*: name its encoding"):
        read_table(path, "t")
    assert read_table(path, "t", encoding="latin-1").features == ("größe",)
    with pytest.raises(ValueError, match="there is no encoding 'latin-0'"):
        read_table(path, "t", encoding="latin-0")


@pytest.mark.parametrize("mark", [";", "\t", "|"])
def test_another_separator_is_noticed(tmp_path, mark):
    path = write(tmp_path, "x,y,t\n1.5,2.5,a\n2.5,1.5,b\n".replace(",", mark))
    table = read_table(path, "t")
    assert table.features == ("x", "y")
    assert any("columns are separated by" in note for note in table.notes)
    assert read_table(path, "t", separator=mark).notes == ()
    tsv = write(tmp_path, "x\tt\n1.5\ta\n2.5\tb\n", "table.tsv")
    assert read_table(tsv, "t").notes == ()


@pytest.mark.parametrize(
    ("text", "features"),
    [
        ("height, cm;w;y\n0.1;3;u\n0.5;4;v\n", ("height, cm", "w")),
        ("height, cm;w;y\n0,1;3;u\n0,5;4;v\n", ("height, cm", "w")),
        ("x,w,y\n0.1;2,3,u\n0.5,4\n0.7,1,v\n", ("x", "w")),
        ("x,w;z,y\n0.1,3,u\n0.5,4,v\n", ("x", "w;z")),
    ],
)
def test_a_separator_is_the_one_that_all_rows_have(tmp_path, text, features):
    assert read_table(write(tmp_path, text), "y", task="classification").features == features


def test_decimal_commas_are_noticed(tmp_path):
    path = write(tmp_path, "x;y;t\n1,5;2;a\n-0,25;1;b\n")
    table = read_table(path, "t")
    assert values(table) == [(1.5, 2.0), (-0.25, 1.0)]
    assert "numbers have decimal commas" in table.notes
    assert read_table(path, "t", decimal=".").columns["x"].dtype == polars.String
    thousands = write(tmp_path, 'x,t\n"1,500",a\n"2,250",b\n')
    assert read_table(thousands, "t").columns["x"].dtype == polars.String


def test_blanks_comments_and_names_like_duplicates_are_no_trouble(tmp_path):
    path = write(tmp_path, "# exported\n\n b , b_duplicated_0, t \n1.5, 2.5, a\n2.5, 1.5, b\n")
    table = read_table(path, "t")
    assert table.features == ("b", "b_duplicated_0")
    assert table.rows.to_list() == [4, 5]
    assert read_table(write(tmp_path, "#x,t\n1.5,a\n2.5,b\n"), "t").features == ("#x",)


@pytest.mark.parametrize("header", ["x", "rownames", ""])
@pytest.mark.parametrize("first", [0, 1])
def test_numbers_of_the_rows_are_left_out(tmp_path, header, first):
    text = f"{header},y,t\n" + "".join(f"{first + i},{7 * i % 5},{'ab'[i % 2]}\n" for i in range(6))
    path = write(tmp_path, text)
    name = header or "Unnamed: 0"
    table = read_table(path, "t")
    assert table.features == ("y",)
    assert table.notes == (f"{name!r} left out: numbers of the rows, which tell nothing of new ones",)
    assert read_table(path, "t", keep=[name]).features == (name, "y")
    assert read_table(path, "t", features=[name]).features == (name,)


def test_numbers_of_rows_of_another_table_are_left_out_by_their_name(tmp_path):
    text = "rownames,y,z,t\n17,1,17,a\n3,0,3,b\n21,1,21,a\n4,1,4,b\n"
    assert read_table(write(tmp_path, text), "t").features == ("y", "z")


def test_features_that_number_the_rows_are_kept_where_there_are_no_others(tmp_path):
    table = read_table(write(tmp_path, "x,t\n0,a\n1,b\n2,a\n3,b\n"), "t")
    assert table.features == ("x",)
    assert "kept for there are no other features" in table.notes[0]


def test_columns_are_chosen_and_dropped(tmp_path):
    path = write(tmp_path, "x,y,z,t\n1.5,2,3,a\n2.5,3,1,b\n")
    assert read_table(path, "t", drop=["y"]).features == ("x", "z")
    assert read_table(path, "t", features=["z", "x"]).features == ("z", "x")
    assert read_table(path).features == ("x", "y", "z", "t")
    assert read_table(path, "t", beside=["t", "x"]).beside.rows() == [("a", "1.5"), ("b", "2.5")]
    with pytest.raises(ValueError, match="there is no column 'u', 'v': the columns are 'x', 'y', 'z', 't'"):
        read_table(path, "t", drop=["u"], keep=["v"])
    with pytest.raises(ValueError, match="column 't' is the target, and cannot be a feature"):
        read_table(path, "t", features=["t"])


def test_another_table_is_read_as_what_was_learned_from(tmp_path):
    training = read_table(write(tmp_path, "zip,x,t\n02139,1.5,a\nAB1,2.5,b\n02139,0.5,a\nAB1,0.5,b\n"), "t")
    preparation = Preparation.learn(training.columns)
    new = write(tmp_path, "x,zip,t\n3,02139,b\n,02134,c\n", "new.csv")
    rows = read_table(new, preparation=preparation)
    assert values(rows) == [("02139", 3.0), ("02134", None)]
    known = read_table(new, "t", preparation=preparation, classes=training.classes)
    assert (known.classes, known.labels.tolist(), values(known)) == (("a", "b"), [1], [("02139", 3.0)])
    assert known.notes == ("1 row of unknown classes left out, 'c' the first",)
    with pytest.raises(ValueError, match="column 'x' must hold numbers, got 'much' in row 3"):
        read_table(write(tmp_path, "x,zip\n3,02139\nmuch,1\n"), preparation=preparation)
    with pytest.raises(ValueError, match="has no value of a known class"):
        read_table(write(tmp_path, "x,zip,t\n3,02139,c\n"), "t", preparation=preparation, classes=("a", "b"))


@pytest.mark.parametrize(
    ("known", "new"),
    [
        ([True, False, True], ["False", "True", "False"]),
        (["True", "False", "True"], [False, True, False]),
        ([1.0, 1.5, 2.0], [2.0, 1.0, 2.0]),
        (["1.0", "2.0", "1.5"], [2.0, 1.0, 2.0]),
        ([1.0, 2.0, 1.0], ["2.0", "1.0", "2.0"]),
    ],
)
def test_classes_and_words_are_known_again_in_a_file_of_another_kind(tmp_path, known, new):
    def read(cells, name, **options):
        frame = polars.DataFrame({"x": [1.5, 7.0, 2.0, 3.0, 9.0, 4.0], "w": cells * 2, "t": cells * 2})
        path = tmp_path / f"{name}.{'csv' if isinstance(cells[0], str) else 'parquet'}"
        frame.write_csv(path) if isinstance(cells[0], str) else frame.write_parquet(path)
        return read_table(path, "t", task="classification", **options)

    table = read(known, "known")
    preparation = Preparation.learn(table.columns)
    again = read(new, "new", preparation=preparation, classes=table.classes)
    assert again.notes == ()
    same = [str(cell).removesuffix(".0").lower() for cell in new * 2]
    assert [table.classes[label].removesuffix(".0").lower() for label in again.labels] == same
    assert preparation.surprises(again.columns) == []
    if str(known[0]) in ("True", "False"):
        words = [f"w = {table.classes[label]}" for label in again.labels]
        values = preparation.apply(again.columns)
        assert [values[row, preparation.features.index(word)] for row, word in enumerate(words)] == [1] * 6


ROWS = "".join(f"{i}.5,{i}.25,{'ab'[i % 2]}\n" for i in range(20))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty: a header and at least four rows are needed"),
        ("\n\n", "is empty"),
        ("x,t\n", "has no rows"),
        ("x,t\n,\n\n", "has no rows"),
        (b"x,t\n" + b"1,a\n" * 20_000 + b"2,\xff\n", "is not UTF-8: line 20002 has the byte 0xff: name its encoding"),
        ("x" * 200_000 + ",t\n1,a\n", "cannot be read as a csv file: field larger than"),
        ("x,y\n1,2\n", "there is no column 't': the columns are 'x', 'y'"),
        ("x/t\n1/2\n", "the columns are 'x/t'; name the separator"),
        ("t\na\nb\n", "a feature is needed beside the target 't'"),
        ("x,x,t\n1,2,a\n", "two columns are named 'x'"),
        ("x,t\n1,a\n2,b,c\n", "row 3 has 3 cells, and the header 2"),
        (
            'x,y,t\n"1",2,a\n3,"b\n4,5,a\n',
            "within the quotation marks of row 3, which has 2 cells .* header 3: .* cut off",
        ),
        (b"x,t\n1,\xff\n", "cannot be read as a csv file"),
        (f"x,y,t\n{ROWS}red,1.5,b\n", "column 'x' must hold numbers, got 'red' in row 22"),
        (f"x,y,t\n{ROWS}red,blue,b\n", "2 columns cannot be used: column 'x' .* 'red' in row 22; column 'y' .* 'blue'"),
        ("x,t\n1,a\n2,b\n3,a\n-inf,b\n", "column 'x' must be finite, got -inf in row 5"),
        ("x,t\n1,a\n2,a\n", "column 't' holds one class only, 'a'"),
        ("x,t\n1,NA\n2,\n", "column 't' has no value"),
    ],
)
def test_a_bad_csv_file_is_refused_with_its_column_or_row(tmp_path, text, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_table(write(tmp_path, text), "t")
    assert "table.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1.0, 2.0, float("inf"), 4.0]}, "column 'x' must be finite, got inf in row 3"),
        ({"x": [[1], [2], [3], [4]]}, r"column 'x' must hold numbers, words or dates, got List\(Int64\)"),
        ({"x": [[1]] * 4, "y": [[1]] * 4}, "2 columns cannot be used: column 'x' .*; column 'y'"),
    ],
)
def test_a_bad_parquet_file_is_refused_with_its_column_or_row(tmp_path, columns, message):
    path = tmp_path / "table.parquet"
    polars.DataFrame({**columns, "t": [0, 1, 0, 1]}).write_parquet(path)
    with pytest.raises(ValueError, match=message):
        read_table(path, "t")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"separator": ";;"}, "a separator is one character"),
        ({"decimal": "x"}, "a decimal mark is"),
        ({"separator": ",", "decimal": ","}, "both the separator and the decimal mark"),
    ],
)
def test_a_bad_way_of_writing_is_refused(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        read_table(write(tmp_path, "x,t\n1,a\n2,b\n"), "t", **options)


def test_a_file_that_is_no_table_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.csv: there is no such file"):
        read_table(tmp_path / "none.csv", "t")
    with pytest.raises(ValueError, match=r"must be a file \.csv, .*, got '\.xlsx'"):
        read_table(tmp_path / "table.xlsx", "t")
    with pytest.raises(ValueError, match="cannot be read as a parquet file"):
        read_table(write(tmp_path, "x,t\n1,2\n", "table.parquet"), "t")
    with pytest.raises(ValueError, match="cannot be read as a gzip file"):
        read_table(write(tmp_path, b"\x1f\x8b123", "table.csv.gz"), "t")
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileNotFoundError):
        read_table(tmp_path / "folder.csv", "t")


def test_without_polars_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match=r"polars: .*\[table\]"):
        read_table(write(tmp_path, "x,t\n"), "t")


def test_labels_are_indices(tmp_path):
    labels = read_table(write(tmp_path, column(["b", "a", "b"])), "t", task="classification").labels
    assert (labels.dtype, labels.tolist()) == (torch.int64, [1, 0, 1])
