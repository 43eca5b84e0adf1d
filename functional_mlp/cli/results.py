"""The file of a sweep's figures, which grows while they come, and which the same command goes on from."""

from __future__ import annotations

import csv
import importlib
import io
import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from functional_mlp.cli.outcomes import Merit, Outcome, Planned, Row, columns
from functional_mlp.cli.output import plain
from functional_mlp.extras import installing
from functional_mlp.files import write_atomically
from functional_mlp.interrupts import no_interrupt
from functional_mlp.spread import count

SUFFIXES = (".csv", ".parquet", ".json")
# Seconds between two writings of a file, which is written as a whole each time.
BETWEEN_WRITINGS = 2.0


class Gathered:
    """The results of settings, by their places; complete ones are written to a file every now and then.

    It is written at the end of the `with` block in any case.
    """

    def __init__(self, file: ResultsFile | None, merit: Merit, known: Mapping[int, Outcome]) -> None:
        self.known = known  # from the file of an earlier call
        self.reached: dict[int, Outcome] = dict(known)
        self.merit = merit
        self._file = file
        self._written, self._written_at = len(known), -math.inf

    def __enter__(self) -> Gathered:
        return self

    def __exit__(self, *error: object) -> None:
        with no_interrupt():
            self._write()

    def take(self, outcomes: Mapping[int, Outcome]) -> None:
        """Take results; settings that Ctrl-C has ended before they were begun are left out."""
        self.reached |= {place: outcome for place, outcome in outcomes.items() if outcome.is_begun}
        if time.monotonic() - self._written_at > BETWEEN_WRITINGS:
            self._write()

    def ranked(self) -> list[Outcome]:
        """The outcomes, the best first."""
        return sorted(self.reached.values(), key=lambda outcome: outcome.rank)

    def kept(self, planned: int) -> str:
        """Where the settings are that are done, of all that are planned, and how to go on from them."""
        done = f"{len(self._whole())} of {count(planned, 'setting')}"
        if self._file is None:
            return f"done, but kept in no file: {done}; with --results FILE the same command goes on from there"
        return f"done, and kept in {self._file.path}: {done}; the same command trains the others"

    def _whole(self) -> list[Outcome]:
        return [outcome for outcome in self.ranked() if outcome.is_whole]

    def _write(self) -> None:
        whole = self._whole()
        if self._file is not None and len(whole) > self._written:
            self._file.write(whole, self.merit)
            self._written, self._written_at = len(whole), time.monotonic()


@frozen
class ResultsFile:
    """A table of one row a setting: the setting, its figures, and what they follow from.

    It is written anew, whole or not at all, whenever figures have come.
    """

    path: Path

    def check(self) -> None:
        """Raise, before any training, where the file could not be written."""
        if self._suffix not in SUFFIXES:
            kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
            raise ValueError(f"--results: the figures go into a file {kinds}, got {str(self.path)!r}")
        if self._suffix == ".parquet":
            try:
                importlib.import_module("polars")
            except ModuleNotFoundError as error:
                raise ModuleNotFoundError(
                    f"--results: a Parquet file needs polars: {installing('table')}; or name a .csv",
                    name=error.name,
                ) from error

    def write(self, outcomes: Sequence[Outcome], merit: Merit) -> None:
        """Write the rows of these outcomes."""
        write_atomically(self.path, self._content([{**o.figures(merit), **o.planned.origin()} for o in outcomes]))

    def read(self, planned: Sequence[Planned], merit: Merit) -> dict[int, Outcome]:
        """The outcomes that the file has, by the places of their settings; none where there is no file.

        Raises `ValueError` for a file of another command, with what differs.
        """
        if not self.path.exists():
            return {}
        places = {_key(each.named): place for place, each in enumerate(planned)}
        found = {}
        for row in self._rows():
            self._check_columns(row, columns(planned[0], merit))
            setting = {name: row[name] for name in planned[0].named}
            values = ", ".join(f"{name} {value}" for name, value in setting.items())
            place = places.get(_key(setting))
            if place is None:
                raise self._other(f"it has {values}, which is not asked for")
            if place in found:
                raise self._other(f"it has {values} twice")
            self._check_origin(row, planned[place].origin())
            try:
                found[place] = Outcome.from_row(planned[place], row, merit)
            except ValueError as error:
                raise self._other(f"a figure cannot be ({error})") from error
        return found

    def _check_columns(self, row: Mapping[str, Any], wanted: Sequence[str]) -> None:
        missing = [name for name in wanted if name not in row]
        further = [str(name) for name in row if name not in wanted]
        if missing or further:
            halves = [f"there is no column {', '.join(map(repr, missing))}"] if missing else []
            halves += [f"there is a column {', '.join(map(repr, further))}"] if further else []
            raise self._other(" and ".join(halves))

    def _check_origin(self, row: Mapping[str, Any], wanted: Row) -> None:
        differences = [
            f"{name} is {str(row[name])!r} there, and {str(value)!r} in this command"
            for name, value in wanted.items()
            if str(row[name]) != str(value)
        ]
        if differences:
            raise self._other("; ".join(differences))

    def _other(self, difference: str) -> ValueError:
        return ValueError(
            f"--results: {self.path} is not of this command: {difference}: name another file, or give what it was "
            "made with"
        )

    @property
    def _suffix(self) -> str:
        return self.path.suffix.lower()

    def _rows(self) -> list[Row]:
        try:
            if self._suffix == ".parquet":
                import polars

                return polars.read_parquet(self.path).to_dicts()
            text = self.path.read_text(encoding="utf-8")
            rows: list[Row] = json.loads(text) if self._suffix == ".json" else list(_rows_of_csv(text))
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise ValueError("it has other things than rows")
        except OSError:
            raise
        except Exception as error:  # whatever a reader says of a file that is of another kind
            raise ValueError(
                f"--results: {self.path} cannot be read ({str(error).splitlines()[0]}): the file may be cut off, or be "
                "none of results: name another file, or mend this one"
            ) from error
        return rows

    def _content(self, rows: Sequence[Row]) -> bytes:
        if self._suffix == ".json":
            return (json.dumps(plain(rows), indent=1) + "\n").encode()
        if self._suffix == ".parquet":
            import polars

            content = io.BytesIO()
            polars.DataFrame(rows).write_parquet(content)
            return content.getvalue()
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().encode()


def _rows_of_csv(text: str) -> Iterator[Row]:
    lines = csv.reader(io.StringIO(text))
    names = next(lines, [])
    for cells in filter(None, lines):
        if len(cells) != len(names):
            raise ValueError(f"line {lines.line_num} has {count(len(cells), 'cell')}, and the header {len(names)}")
        yield dict(zip(names, cells, strict=True))


def _key(setting: Row) -> tuple[str, ...]:
    return tuple(str(value) for value in setting.values())
