"""That one expression is the slope of another, its derivative times a factor: what is to be proved."""

import attrs
import sympy

from functional_mlp.symbolic.conditions import Condition
from functional_mlp.symbolic.constants import Constants, exact
from functional_mlp.symbolic.partial import PARTIAL, Absent
from functional_mlp.symbolic.points import Point
from functional_mlp.symbolic.regions import Region, Signs
from functional_mlp.symbolic.resolving import resolved
from functional_mlp.symbolic.walls import INFINITE


@attrs.frozen
class Claim:
    """`given` is factor · ∂value/∂variable, with letters for numbers that may be rounded, which `constants` has.

    It is looked at `within` some conditions, and where `own` is given, the values of some variables, on their side of
    the conditions that are about these variables alone.
    """

    value: sympy.Expr
    variable: sympy.Symbol
    given: sympy.Expr
    factor: sympy.Expr = sympy.S.One
    constants: Constants = attrs.field(factory=dict, eq=False)
    within: tuple[Condition, ...] = ()
    own: Point = attrs.field(factory=dict, eq=False)

    @classmethod
    def of_equality(cls, expected: sympy.Expr, given: sympy.Expr, constants: Constants, own: Point) -> "Claim":
        """That an expression is another: the derivative of a multiple of it by the factor."""
        factor = sympy.Dummy("factor", real=True)
        return cls(factor * expected, factor, given, constants=constants, own=own)

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
        others = Absent(rest) if rest.has(*PARTIAL, sympy.nan, *INFINITE) else sympy.S.Zero
        return sympy.Add(others, *(term for term in terms if term.has(self.variable)))

    def value_by(self, signs: Signs) -> sympy.Expr:
        """The value where conditions are decided; nan where it is no finite number."""
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
