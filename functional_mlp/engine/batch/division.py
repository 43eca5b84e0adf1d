"""How threads divide the product of a layer with a batch: its rows, or the units in its columns.

Where units are divided, a thread meets the same weights in each batch, and they stay in the cache of its core: what
goes from one to another are activations. Where there are too few units for the threads that there are, rows are
divided all the same; so the code is made for both, and chooses as it begins.
"""

from functional_mlp.engine.calls import Scope
from functional_mlp.engine.kernels import Kernels
from functional_mlp.engine.layout import vectors
from functional_mlp.engine.llvm import ir
from functional_mlp.engine.llvm.indices import Index
from functional_mlp.engine.plan import PAIR

Range = tuple[Index, Index]  # the first, and the one after the last


class Division:
    """The division of `units` by pairs of vectors, where they come out about even, and otherwise of rows."""

    def __init__(self, kernels: Kernels, scope: Scope, units: int) -> None:
        self._kernels, self._scope, self._units = kernels, scope, units
        e, b, share = kernels.e, kernels.builder, scope.share
        assert share is not None, "there is but one thread"
        self._unit = PAIR * kernels.lanes
        pairs = e.index(vectors(units, self._unit))
        none_left = b.icmp_unsigned("==", b.urem(pairs, share.threads), e.index(0))
        many = b.icmp_unsigned(">=", pairs, b.mul(share.threads, e.index(scope.plan.policy.fewest_pairs_of_a_thread)))
        self._by_units = b.or_(none_left, many)

    def units(self) -> Range:
        """This thread's units, or all."""
        begin, end = self._kernels.own_part(self._scope, self._units, self._unit)
        return self._either(begin, 0), self._either(end, self._units)

    def rows(self, own: Range, count: Index) -> Range:
        """All `count` rows, or this thread's own."""
        return self._either(0, own[0]), self._either(count, own[1])

    def _either(self, by_units: Index, by_rows: Index) -> ir.Value:
        e = self._kernels.e
        return e.builder.select(self._by_units, e.index(by_units), e.index(by_rows))
