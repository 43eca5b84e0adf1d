"""The third reading of the array algebra: with symbols, so that formulas are typeset and gradients proved.

    constants.py   the numbers of an expression, recognized
    partial.py     functions that are no number for some arguments
    nodes.py       functions with conditions
    namespace.py   the array namespace `xp` of formulas
    reach.py       what is evaluated, and what is too large for that
    intervals.py   numbers between bounds
    points.py      points of space
    words.py       formulas in words
    turning.py     conditions made simpler
    roots.py       the zeros of conditions
    conditions.py  that an expression is positive, or negative
    bounds.py      the sign of a formula between bounds
    sampling.py    points at which conditions hold
    peaks.py       points at which functions turn
    regions.py     where which condition holds
    walls.py       the surfaces between regions
    resolving.py   the smooth formula where conditions are decided
    identities.py  whether a formula is 0
    agreement.py   whether two formulas agree at a point
    allowance.py   a bound on the time
    findings.py    kinks and refutations
    slopes.py      what is to be proved of two expressions
    sections.py    a claim where an expression is 0
    around.py      the slopes of the pieces around a point
    comparing.py   formulas at many points
    dividing.py    the pieces of a claim
    kinks.py       what happens across a surface between pieces
    between.py     all that lies between pieces
    derivatives.py whether one expression is the derivative of another, piece by piece
    claims.py      what values claim by their expressions
    letters.py     the letters of the field for the numbers of values

and for LaTeX

    formulas.py    the equations of each kind of value
    networks.py    those of both passes
    sums.py        losses of any number of outputs
    rules.py       the steps of optimizers
    timetables.py  schedules
    writing.py     quotients and powers as they are written
    tidying.py     one formula for many pieces
    printing.py    how a person would write it
    lettering.py   letters that nothing else has
    spelling.py    numbers, names and words

sympy is loaded with this package, and only then.
"""

try:
    import sympy as _sympy  # noqa: F401 - where it is missing, this is where that is said
except ImportError as error:
    raise ImportError(
        f"formulas and proofs need sympy, which comes with torch and cannot be imported here ({error}): "
        "pip install sympy"
    ) from error
