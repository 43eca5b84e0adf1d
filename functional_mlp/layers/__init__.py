"""Layers: frozen values with pure functions and gradients written by hand.

    base.py         what a layer is
    linear.py       the fully connected layer
    elementwise.py  one function of every number, and the activations
    combinators.py  layers made of layers
    adapting.py     whatever has a layer's functions, as a layer
    kinds.py        of which kind of these a layer is

and, for these, `arguments.py` (what the functions are given), `nesting.py` (how deep) and `summary.py` (the table).
"""
