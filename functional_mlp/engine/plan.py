"""How the code of a program is made and run: what a policy decides for it, as a pure function of program and target."""

import enum
import functools
from collections.abc import Sequence

import attrs

from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.layout import Layout, Matrix, vectors
from functional_mlp.engine.lengths import activation_lengths, activations, rule_length_of_a_vector
from functional_mlp.engine.llvm.target import Target
from functional_mlp.engine.policy import MEASURED, Policy, Unrolled
from functional_mlp.engine.program import Program, TrainingProgram, affine_steps, all_steps, pointwise_steps

# The registers for vectors of a processor, by their bytes: AVX-512 has 32. AVX2 has 16, as those with vectors of 16
# bytes are taken to have, of which ARM's have more.
REGISTERS = {64: 32, 32: 16, 16: 16}
# Products of batches take the vectors of columns in pairs, and the last of an odd number alone: each number of a row
# that is read then serves two vectors. For one, 1.10 (paper, 10), 1.09 (paper, 100) and 1.07 (wide, 32) of the time;
# for four, 1.00, 1.00 and 1.03. What a number of columns known only at run time leaves over is one vector, so it is
# not of the policy.
PAIR = 2
# The sum of a vector's lanes takes a shuffle, a choice of lanes and an addition for each time that it is halved.
OPERATIONS_OF_A_HALVING = 3
# The numbers of the vectors that `Policy.operations_per_call` is stated for.
LANES_OF_OPERATIONS = 8


class Sharing(enum.Enum):
    """Which layers share the functions of kernels."""

    NONE = enum.auto()
    EQUAL_SIZES = enum.auto()
    ALL = enum.auto()


@attrs.frozen(kw_only=True, cache_hash=True)
class Plan:
    """How the code of a program is made and run, by a policy."""

    policy: Policy
    architecture: str  # of the processor, by LLVM's name: x86_64, aarch64, …
    lanes: int  # the numbers in a vector
    # The vectors that the processor holds: with AVX-512, 1.05 for tiles made for 16, 1.21 for 48 (wide, 32).
    registers: int

    sharing: Sharing
    calls_in_tables: bool
    short: int  # the length up to which activations are emitted within products
    long_rule: bool  # whether the optimizer's rule is long
    remembers: bool  # whether it remembers something
    is_wide: bool  # whether a matrix does not fit into a core's second cache

    samples_at_once: int  # the most samples whose activations are kept at a time, on several threads
    samples_at_once_alone: int  # and on one
    rows_per_call: int
    divided: bool = False  # whether several threads may run an epoch
    fewest_rows_divided: int  # of a call that several threads run

    @property
    def piece(self) -> int:
        """The most samples whose activations are kept at a time."""
        return self.samples_at_once if self.divided else self.samples_at_once_alone

    @property
    def sums_go_on(self) -> bool:
        """Whether gradients are sums over the samples in a row: pieces depend on threads, and bits must not."""
        return self.samples_at_once != self.samples_at_once_alone

    @property
    def rows_per_share(self) -> int:
        """The rows that pass forward in one call: few, so that cores are busy to the end."""
        return max(1, self.rows_per_call // self.policy.shares_of_a_call // self.piece) * self.piece

    @property
    def in_one_piece(self) -> bool:
        return self.sharing is Sharing.NONE

    @property
    def fetches(self) -> bool:
        """Whether products ask ahead for what they need: where it may lie in another core's cache, or in none.

        Without: 1.04 (784-1024-1024-10 at batch size 256, on one core), 1.02 (on two that share a cache) and 1.10 (that
        do not), 1.35 (784-256-128-10, 32, on such two); on one core, where matrices fit into its cache, 0.98.
        """
        return self.divided or self.is_wide

    @property
    def heights_of_rests(self) -> tuple[int, ...]:
        """Which tiles take the rows that are left over by those of a product; then each is taken alone."""
        return (self.policy.height_of_rests_if_divided,) if self.divided else ()

    @property
    def brief_rule(self) -> bool:
        """Whether the optimizer's rule is to be emitted few times."""
        return self.long_rule and not self.in_one_piece

    @property
    def packs_tails(self) -> bool:
        """Whether rows share vectors for their last columns; copies gain more, and functions are to be short."""
        return self.remembers and self.in_one_piece and not self.divided

    @property
    def unrolled(self) -> Unrolled:
        """Less is unrolled in functions, and no product where a long rule is applied within it."""
        if self.in_one_piece:
            return self.policy.unrolled_in_one_piece
        most = self.policy.unrolled_in_functions
        return attrs.evolve(most, products=0) if self.long_rule else most

    def copied(self, matrices: Sequence[Matrix]) -> list[Matrix]:
        """Which small matrices are kept transposed as well, where samples are taken one by one.

        None are where an optimizer remembers something, which would have to be kept so, too.
        """
        room = self.policy.most_copied_vectors * self.lanes
        found: list[Matrix] = []
        if self.remembers:
            return found
        for matrix in reversed(matrices[1:]):  # the gradient of the data is of no use
            size = max(matrix.bias_offset - matrix.offset, matrix.size_transposed(self.lanes))
            if matrix.input_major and not self.divides(matrix) and size <= room:
                found.insert(0, matrix)
                room -= size if self.in_one_piece else 0
        return found

    def divides(self, matrix: Matrix) -> bool:
        """Whether threads divide the units of a layer among them where samples are taken one by one."""
        blocks = vectors(matrix.columns, self.lanes * self.policy.product_width)
        is_large = matrix.rows * matrix.columns >= self.policy.fewest_weights_of_a_divided_layer
        return self.divided and matrix.input_major and blocks > 1 and is_large

    def divides_units_of(self, matrix: Matrix, samples: int) -> bool:
        """Whether threads may divide the units of a layer among them, and not the samples of a batch.

        Otherwise half the weights go from one core to another, and not half the outputs of the samples.
        """
        weights, least = matrix.rows * matrix.columns, self.policy.fewest_weights_divided_by_units
        are_few = samples <= self.policy.most_samples_for_a_unit * matrix.columns
        is_wide = are_few and matrix.columns > PAIR * self.lanes
        return self.divided and not self.calls_in_tables and matrix.input_major and is_wide and weights >= least

    def adds_lanes_of(self, matrix: Matrix) -> bool:
        """Whether a batch's products with the units of a layer are sums over the lanes of vectors of its inputs.

        Units fill little of a vector then, and it takes fewer operations.
        """
        fills_much = matrix.rows > self.policy.largest_share_of_lanes * self.lanes
        if self.sharing is Sharing.ALL or matrix.input_major or fills_much:
            return False
        halvings = self.lanes.bit_length() - 1
        return matrix.rows * vectors(matrix.columns, self.lanes) + OPERATIONS_OF_A_HALVING * halvings < matrix.columns

    @property
    def sums_in_registers(self) -> int:
        """How many sums of a product are kept in registers at a time; the others hold what is multiplied."""
        return int(self.policy.share_of_registers * self.registers)

    @property
    def rows_fetched_ahead(self) -> int:
        """How far ahead products ask for what they meet."""
        return self.policy.rows_fetched_ahead_if_wide if self.is_wide else self.policy.rows_fetched_ahead

    def in_functions(self) -> "Plan":
        """The plan for what runs seldom and need not be fast: at least equal layers share functions."""
        return attrs.evolve(self, sharing=Sharing.EQUAL_SIZES) if self.in_one_piece else self


@functools.lru_cache(maxsize=256)
def plan_of(program: Program, target: Target, policy: Policy = MEASURED) -> Plan:
    """The plan for a network; raises `CannotFuseError` where its expressions are no more what they were."""
    program.check_unchanged()
    lanes = lanes_of(program, target)
    lengths = {activation_code(layer): activation_lengths(layer) for layer in activations(program)}
    rule_length, slots = 0, 0
    if isinstance(program, TrainingProgram):
        rule_length, slots = rule_length_of_a_vector(program.optimizer, program.penalty), len(program.optimizer.slots())
    operations = operations_per_row(program, slots, policy)
    many = len(all_steps(program.steps)) > policy.most_steps_called_one_by_one
    weights = [step.in_features * step.out_features for step in affine_steps(program.steps)]
    is_wide = max(weights, default=0) > policy.most_weights_of_a_cache
    samples_at_once = policy.samples_at_once_if_wide if is_wide else policy.samples_at_once
    sharing = _sharing(program, lanes, lengths, rule_length, samples_at_once, policy)
    batch = program.batch_size if isinstance(program, TrainingProgram) else 1
    goes_on = samples_at_once < batch <= policy.most_samples_in_a_row and sum(weights) <= policy.most_weights_of_small
    plan = Plan(
        policy=policy,
        architecture=target.architecture,
        lanes=lanes,
        registers=REGISTERS[target.vector_bytes],
        sharing=sharing,
        calls_in_tables=sharing is Sharing.ALL or many,
        short=_short(program, sharing, lengths, policy),
        long_rule=rule_length > policy.most_instructions_of_a_short_rule,
        remembers=slots > 0,
        is_wide=is_wide,
        samples_at_once=samples_at_once,
        samples_at_once_alone=policy.samples_at_once_if_small if goes_on else samples_at_once,
        rows_per_call=policy.operations_per_call * lanes // (LANES_OF_OPERATIONS * operations),
        fewest_rows_divided=policy.fewest_operations_of_a_divided_call // operations,
    )
    if not isinstance(program, TrainingProgram) or program.batch_size > 1:
        return plan
    # The sums of a divided layer are those of its blocks, on one thread as well.
    divided = attrs.evolve(plan, divided=True)
    return divided if _weights_divided(program, divided) >= policy.fewest_weights_divided else plan


@functools.lru_cache(maxsize=256)
def threads_of(program: Program, target: Target, most: int, policy: Policy = MEASURED) -> int:
    """On how many threads an epoch is faster than on fewer, `most` at most."""
    if not isinstance(program, TrainingProgram):
        return 1
    plan = plan_of(program, target, policy)
    if program.batch_size == 1:
        return max(1, min(most, _weights_divided(program, plan) // policy.fewest_weights_of_a_thread))
    samples = min(program.batch_size, plan.samples_at_once)
    operations = samples * operations_per_row(program, len(program.optimizer.slots()), policy)
    by_work = operations // policy.fewest_operations_of_a_thread
    return max(1, min(most, by_work, samples // policy.fewest_samples_of_a_thread))


def _weights_divided(program: Program, plan: Plan) -> int:
    """How many weights of layers are divided among threads where samples are taken one by one."""
    matrices = Layout.of(program, plan.lanes).matrices
    return sum(matrix.rows * matrix.columns for matrix in matrices if plan.divides(matrix))


def lanes_of(program: Program, target: Target) -> int:
    """The numbers of a program's type in a vector of the target."""
    return target.lanes(number_bytes(program))


def number_bytes(program: Program) -> int:
    """The size of a number of a program's type."""
    return program.dtype.itemsize


Lengths = dict[str, tuple[int, int]]


def _sharing(
    program: Program, lanes: int, lengths: Lengths, rule_length: int, samples_at_once: int, policy: Policy
) -> Sharing:
    """Which layers share functions.

    Parameters
    ----------
    program
        What the plan is for.
    lanes
        The numbers in a vector.
    policy
        What the engine decides by.
    lengths
        The instructions of each activation.
    rule_length
        The instructions of the optimizer's rule.
    samples_at_once
        Batches of more samples are taken in pieces.
    """
    layers, size = affine_steps(program.steps), Layout.of(program, lanes).size
    few = len(layers) <= policy.most_layers_in_one_piece and size <= policy.most_vectors_in_one_piece * lanes
    # Each vector of parameters and of features has the expressions once.
    steps = pointwise_steps(program.steps)
    of_features = sum(sum(lengths[step.code]) * vectors(step.features, lanes) for step in steps)
    if few and rule_length * size // lanes + of_features <= policy.most_instructions_in_one_piece:
        return Sharing.NONE
    shapes = {(layer.in_features, layer.out_features, layer.bias) for layer in layers}
    few = len(shapes) <= policy.most_shapes and len(lengths) <= policy.most_shapes
    # Where the gradients of a batch are added up first, the rule is emitted once for all layers.
    batch = program.batch_size if isinstance(program, TrainingProgram) else 1
    adds_up = batch > 1 and (batch > samples_at_once or rule_length > policy.most_instructions_of_a_short_rule)
    few = few and (adds_up or len(shapes) * rule_length <= policy.most_instructions_of_rules)
    return Sharing.EQUAL_SIZES if few else Sharing.ALL


def _short(program: Program, sharing: Sharing, lengths: Lengths, policy: Policy) -> int:
    if sharing is Sharing.ALL and len(lengths) > policy.most_fused:
        return -1
    steps = pointwise_steps(program.steps)
    together = sum(length for step in steps for length in lengths[step.code] if length <= policy.short_activation)
    are_few = together <= policy.most_short_in_one_piece
    return policy.short_activation if sharing is Sharing.NONE and are_few else policy.very_short_activation


def operations_per_row(program: Program, slots: int, policy: Policy) -> int:
    """About how many operations the training on a row takes, with an optimizer of `slots` slots and a step a batch."""
    rows_of_a_step = program.batch_size if isinstance(program, TrainingProgram) else 1
    of_a_weight = policy.operations_per_weight + policy.operations_per_slot * slots // rows_of_a_step
    sizes = [(step.in_features, step.out_features) for step in affine_steps(program.steps)]
    of_units = sum(outputs * (of_a_weight * inputs + policy.operations_per_unit) for inputs, outputs in sizes)
    return policy.operations_per_row + of_units
