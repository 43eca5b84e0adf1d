"""Tables as data: a CSV or Parquet file as people have them, read, prepared and split for a network.

    table = read_table("iris.csv", target="species")
    parts = split_table(table, key, validation_share=0.2)
    fm.fit(..., parts.training, validation=parts.validation, ...)
    parts.preparation.apply(read_table("new.csv", preparation=parts.preparation).columns)

    dialect.py      how a text file is written
    files.py        files as columns of cells
    kinds.py        what a column holds: numbers, dates, words
    targets.py      the target: classes, or quantities
    columns.py      recipes from one raw column to numbers
    preparation.py  the recipe of a table
    reading.py      `read_table`
    splits.py       training and validation parts

Files are read with polars, the extra `table`, which is imported when a file is read.
"""

from functional_mlp.tables.columns import Column, DateColumn, NumberColumn, Scale, WordColumn
from functional_mlp.tables.preparation import LeftOut, Preparation
from functional_mlp.tables.reading import Table, read_table
from functional_mlp.tables.splits import (
    SplitTable,
    dataset_of,
    parts_of,
    split_table,
    stratified_folds,
    stratified_split,
)

__all__ = [
    "Column",
    "DateColumn",
    "LeftOut",
    "NumberColumn",
    "Preparation",
    "Scale",
    "SplitTable",
    "Table",
    "WordColumn",
    "dataset_of",
    "parts_of",
    "read_table",
    "split_table",
    "stratified_folds",
    "stratified_split",
]
