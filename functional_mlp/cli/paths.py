"""The files that a command reads and writes, by the options that name them."""

import itertools
from collections.abc import Mapping
from pathlib import Path

from functional_mlp.files import check_writable, is_same_file


def check_files(reads: Mapping[str, Path | None], writes: Mapping[str, Path | None]) -> None:
    """Raise before any work is done where a file could not be written, or would be written over one just used.

    Raises `ValueError` where an option that writes names the file of another option, through links or not, and
    `OSError` where a file cannot be written.
    """
    written = {option: path for option, path in writes.items() if path is not None}
    read = {option: path for option, path in reads.items() if path is not None}
    pairs = [*itertools.combinations(written, 2), *itertools.product(written, read)]
    paths = read | written
    for option, other in pairs:
        if is_same_file(paths[option], paths[other]):
            raise ValueError(
                f"{option} and {other} are one file, {paths[option]}, which would be overwritten: name another file"
            )
    for path in written.values():
        check_writable(path)


def named_and_placed(file: Path | None, model: Path | None, data: Path | None) -> tuple[Path, Path]:
    """The model and the data, one of which may be named by its place alone. Raises `ValueError` where one is not.

    >>> named_and_placed(Path("points.csv"), Path("model"), None) == (Path("model"), Path("points.csv"))
    True
    """
    if file is not None and data is None:
        data = file
    elif file is not None and model is None:
        model = file
    elif file is not None:
        raise ValueError(f"{file}: --model and --data name both files already: leave it out")
    if model is None or data is None:
        raise ValueError(f"{'--model' if model is None else '--data'} is missing: name the file")
    return model, data
