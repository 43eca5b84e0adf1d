"""What the tests of tables share."""

from pathlib import Path


def write(folder: Path, text: str | bytes, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def column(cells: list[str], header: str = "x,t") -> str:
    """A table of rows of one number and one cell each."""
    return f"{header}\n" + "".join(f"{7 * i % 11},{cell}\n" for i, cell in enumerate(cells))
