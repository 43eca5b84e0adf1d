"""How a training ends on the command line."""


def check_completed(*, interrupted: bool, after: str = "", diverged: str = "") -> None:
    """Raise where a training whose results are shown was not completed.

    Raises `KeyboardInterrupt` where Ctrl-C ended it, and `ValueError` where it diverged.
    """
    if interrupted:
        raise KeyboardInterrupt(f"interrupted{after}; the results are those so far")
    if diverged:
        raise ValueError(f"{diverged}: try a smaller --learning-rate")
