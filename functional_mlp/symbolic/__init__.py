"""The third reading of the array algebra: with symbols, so that formulas are typeset and gradients proved.

    constants.py   the numbers of an expression, recognized
    nodes.py       functions with conditions
    namespace.py   the array namespace `xp` of formulas
    regions.py     where which condition holds
    identities.py  whether a formula is 0

sympy is loaded with this package, and only then.
"""
