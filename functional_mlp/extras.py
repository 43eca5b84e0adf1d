"""Extras: what the package needs for some of its features, and how that is installed."""


def installing(extra: str) -> str:
    """How an extra is installed: from a checkout, for no index has the package, and there its name could be another's.

    >>> installing("plot")
    "from a checkout, pip install '.[plot]'"
    """
    return f"from a checkout, pip install '.[{extra}]'"
