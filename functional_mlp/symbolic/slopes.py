"""That one expression is the slope of another, its derivative times a factor: what is to be proved."""

import attrs
import sympy

from functional_mlp.symbolic.conditions import Condition, conditions_where
from functional_mlp.symbolic.constants import Constants, exact
from functional_mlp.symbolic.partial import INFINITE, absent, is_nowhere, substituted
from functional_mlp.symbolic.points import Point
from functional_mlp.symbolic.regions import Region, Signs
from functional_mlp.symbolic.resolving import resolved
from functional_mlp.symbolic.words import in_words


@attrs.frozen
class Claim:
    """`given` is factor · ∂value/∂variable, with letters for numbers that may be rounded, which `constants` has.

    It is looked at `within` some conditions, and where `own` is given, the values of some variables, on their side of
    the conditions that are about these variables alone. `fixed` are variables that it had, and formulas for them;
    `inputs` all that the value is a function of, others than which are parameters.
    """

    value: sympy.Expr
    variable: sympy.Symbol
    given: sympy.Expr
    factor: sympy.Expr = sympy.S.One
    constants: Constants = attrs.field(factory=dict, eq=False)
    within: tuple[Condition, ...] = ()
    own: Point = attrs.field(factory=dict, eq=False)
    fixed: tuple[tuple[sympy.Symbol, sympy.Expr], ...] = ()
    inputs: tuple[sympy.Symbol, ...] = ()

    @classmethod
    def of_equality(cls, expected: sympy.Expr, given: sympy.Expr, constants: Constants, own: Point) -> "Claim":
        """That an expression is another: the derivative of a multiple of it by the factor."""
        factor = sympy.Dummy("factor", real=True)
        return cls(factor * expected, factor, given, constants=constants, own=own)

    def section(self, variable: sympy.Symbol, place: sympy.Expr, *conditions: Condition) -> "Claim | None":
        """The claim where a variable is a formula of the others, and some conditions hold; None where that is nowhere.

        The variable is not the one that it is about.
        """
        signs = [Condition(variable, 1 if variable.is_positive else -1)] if variable.is_nonzero else []
        within = conditions_where(variable, place, (*self.within, *signs))
        if within is None:
            return None
        value, given, factor = (
            substituted(expression, variable, place) for expression in (self.value, self.given, self.factor)
        )
        fixed = (*((one, formula.subs(variable, place)) for one, formula in self.fixed), (variable, place))
        return attrs.evolve(self, value=value, given=given, factor=factor, within=(*within, *conditions), fixed=fixed)

    @property
    def place(self) -> str:
        """Where the variables are that are fixed, in words."""
        return " and ".join(f"{variable} = {in_words(formula)}" for variable, formula in self.fixed)

    @property
    def everywhere(self) -> Region:
        """Where it is looked at."""
        return Region.everywhere(self.variables, *self.within)

    @property
    def variables(self) -> tuple[sympy.Symbol, ...]:
        expressions = (self._depending, self.given, self.factor, *(one.expression for one in self.within))
        symbols = {self.variable}.union(*(expression.free_symbols for expression in expressions))
        return tuple(sorted(symbols - self.constants.keys(), key=str))

    @property
    def _depending(self) -> sympy.Expr:
        """The terms of the value that the variable is in, and that the others are numbers."""
        terms = sympy.Add.make_args(self.value)
        rest = sympy.Add(*(term for term in terms if not term.has(self.variable)))
        return sympy.Add(absent(rest), *(term for term in terms if term.has(self.variable)))

    def value_by(self, signs: Signs) -> sympy.Expr:
        """The value where conditions are decided; nan where it is no finite number."""
        if is_nowhere(self._depending):
            return sympy.nan
        value = resolved(self._depending, signs, self.constants)
        return sympy.nan if value.has(sympy.nan, *INFINITE) else value

    def given_by(self, signs: Signs) -> sympy.Expr:
        """What is given where conditions are decided."""
        return resolved(self.given, signs, self.constants)

    def resolved(self, signs: Signs) -> "Claim":
        """The claim where conditions are decided; both are nan where nothing is claimed, as the value is no number."""
        value = self.value_by(signs)
        return attrs.evolve(self, value=value, given=sympy.nan if value is sympy.nan else self.given_by(signs))

    def exact(self, expression: sympy.Expr) -> sympy.Expr:
        """An expression of it with the numbers that its constants are."""
        return exact(expression, self.constants)

    @property
    def derivative(self) -> sympy.Expr:
        return sympy.nan if self.value is sympy.nan else self.factor * sympy.diff(self.value, self.variable)
