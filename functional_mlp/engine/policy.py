"""Every choice among ways to make the code of a program, as a pure function of the program and the target.

`policy_of` makes the `Policy` of a network; that of a group of networks that are trained at once is made in
`functional_mlp.engine.members.policy`. The numbers that decide are the constants of this file and the defaults of the
fields.

Figures beside them are times of an epoch in float32 with another choice, as a share of that with the one made here,
from `benchmarks/policies.py` on an x86-64 with AVX-512 (48 KB of first cache a core). "Paper" is its network,
2-25-25-25-2, "six shapes" 8-64-48-33-20-64-4, "ten layers" ten of 25 units, "wide" 200-256-128-10; the number after it
is the batch size. Other work ran on the machine: differences of a few hundredths mean nothing. Where there is no
figure, a number was chosen and not measured.
"""

import enum
import functools
from collections.abc import Sequence

import attrs
import torch

from functional_mlp.engine.expressions import activation_code
from functional_mlp.engine.layout import Layout, Matrix, vectors
from functional_mlp.engine.lengths import activation_lengths, activations, rule_length_of_a_vector
from functional_mlp.engine.llvm.target import Target
from functional_mlp.engine.program import Program, TrainingProgram, affine_steps, all_steps, pointwise_steps

# Programs of at most this many linear layers and vectors of weights, whose expressions make at most this many
# instructions, are emitted in one piece; in others, layers share functions, which bounds the code and the time to make
# it. In functions for equal sizes the paper's network takes 1.47 at batch size 1, 1.38 with momentum and 1.10 at 10;
# in functions for any size 1.84, 1.69 and 1.33. One piece would be faster for larger programs too, 0.45 (ten layers, 1)
# and 0.71 (six shapes, 1), but not at batches, 1.01 (ten layers, 50) and 0.91 (six shapes, 50); the bounds were chosen
# for the sake of the time to compile.
MOST_LAYERS_IN_ONE_PIECE = 4
MOST_VECTORS_IN_ONE_PIECE = 320
MOST_INSTRUCTIONS_IN_ONE_PIECE = 4500

# Layers of few shapes, under few activations, have functions that know the sizes; the optimizer's rule, once for each
# shape, must not make more instructions than this. Others share functions for any size: 1.09 (ten layers, 50), though
# 0.71 at batch size 1; the other way round, functions for equal sizes take 0.78 (six shapes, 1) and 0.93 (50).
MOST_SHAPES = 3
MOST_INSTRUCTIONS_OF_RULES = 32

# In networks of more steps, the functions are not called one by one, but by a loop over a table, which bounds the code.
# It costs nothing: 1.00 (ten layers, 50), 1.01 (six shapes, 1); and 0.51 (ten layers, 1).
MOST_STEPS_CALLED_ONE_BY_ONE = 50

# Activations of at most this many instructions are emitted wherever a product has made their argument: in one piece,
# where all that are short make at most `MOST_SHORT_IN_ONE_PIECE`, and otherwise. Functions for any size have a copy
# for each activation, and there must be no more than `MOST_FUSED`. Never: 1.09 (paper, 100), 1.03 (six shapes, 50).
# With tanh, which is long, 1.02 for never, 0.98 for the very short alone (2-25-25-25-2, 100).
SHORT, VERY_SHORT = 60, 8
MOST_SHORT_IN_ONE_PIECE = 170
MOST_FUSED = 2

# Rules of more instructions are long: shared functions apply them to one vector at a time, which bounds the code and
# costs little: 1.02 for Adam's, were it long (six shapes, 50).
LONG_RULE = 20

# A native call cannot be interrupted: with vectors of eight numbers it gets about this many operations, and more or
# fewer with other vectors: ten or twenty milliseconds.
OPERATIONS_PER_CALL = 1_000_000_000
# What a row costs in operations whatever the network, its loss above all; what a unit costs, its activation above all;
# and what a weight costs, without an optimizer's memory and for each of its slots.
OPERATIONS_PER_ROW = 4000
OPERATIONS_PER_UNIT = 100
OPERATIONS_PER_WEIGHT, OPERATIONS_PER_SLOT = 6, 20

# Of short epochs a call gets no more: their keys and learning rates, and what becomes of them, take Python's time.
MOST_EPOCHS_PER_CALL = 256

# The samples of a batch that pass through the network together: 0.98 for 32, 0.99 for 64, 1.05 for 512 (paper, 500).
# With each piece all weights' gradients are added up: through wide layers, 1.08 for 256, 1.19 for 128
# (784-1024-1024-10, 512).
SAMPLES_AT_ONCE, SAMPLES_AT_ONCE_IF_WIDE = 128, 512
# Weights of a layer that take more than a core's second cache, of a megabyte.
WIDE = 1 << 18


class Sharing(enum.Enum):
    """Which layers share the functions of kernels."""

    NONE = enum.auto()
    EQUAL_SIZES = enum.auto()
    ALL = enum.auto()


@attrs.frozen(kw_only=True)
class Unrolled:
    """How many of something are treated one after the other; of more, a loop is made.

    Where no figure is given, none, one and several times as many took between 0.98 and 1.00 of the time (paper, 1 and
    10; 16-32-10, 1): the fewer there are, the shorter the code.
    """

    vectors: int = 8  # vectors of features; 1.00 for one (paper, 1)
    products: int = 128  # operations on vectors of one product; 1.01 for none and for 32, 1.00 for 512 (paper, 1)
    transposed_blocks: int = 2  # blocks of rows, and of columns, of a matrix that is transposed
    row_blocks: int = 2  # blocks of rows of a product
    column_blocks: int = 2  # blocks of columns of a product
    grad_vectors: int = 4  # vectors of the gradient of an input, where rows are outputs


@attrs.frozen(kw_only=True)
class Policy:
    """How the code of a program is made."""

    lanes: int  # the numbers in a vector
    # The vectors that the processor holds: with AVX-512, 1.05 for tiles made for 16, 1.21 for 48 (wide, 32).
    registers: int

    sharing: Sharing
    calls_in_tables: bool
    short: int  # the length up to which activations are emitted within products
    long_rule: bool  # whether the optimizer's rule is long
    remembers: bool  # whether it remembers something

    unrolled_in_one_piece: Unrolled = Unrolled()
    # Blocks of at most this many numbers are transposed number by number: 1.00 for none, 1.02 for 128 (paper, 10).
    one_by_one: int = 32
    # The largest of at most this many outputs is found without a loop: 1.00 for none, 1.01 for 16 (paper, 1), which
    # would be 0.96 (16-32-10, 1). The losses of at most this many are added number by number: 1.00 for none and for 16.
    most_outputs_compared: int = 4
    most_outputs_added: int = 2

    # Single samples. The loss of more vectors of outputs is a function of its own: 1.01 for all, 1.00 for none
    # (8-40-100).
    most_loss_vectors: int = 4
    # Matrices of at most so many vectors are kept transposed as well; in one piece, the last ones that have no more
    # together. There, for none and for all: 1.05 and 1.06 (paper), 1.13 and 1.00 (2-16-16-16-2), 1.05 and 1.03
    # (2-20-20-20-2), 1.03 and 1.06 (2-30-30-30-2), 1.02 and 1.08 (20-25-25-25-4); in functions, as many as in one
    # piece: 1.43 (ten layers).
    most_copied_vectors: int = 60
    # The vectors of a row that are met side by side: in two runs 1.24 and 2.01 for one, 1.02 for two, 1.00 and 0.96 for
    # eight (paper); 1.93, 1.08 and 0.91 (wide). Eight need all registers of AVX-512, and more than others have.
    product_width: int = 4
    # The sums of a product that run side by side, to hide the latency of additions: in two runs 1.12 and 1.42 for two,
    # 0.96 and 1.00 for four, 1.01 and 1.04 for sixteen (paper); and those of the product of a tail: 1.01 for one and
    # for four (paper, momentum).
    product_chains: int = 8
    tail_chains: int = 2
    fewest_divided: int = 1 << 14  # weights of a layer whose units threads divide among them

    # Batches. The sums of a bias's gradient over the samples that run side by side, a power of two: 1.04 for one, 1.00
    # for eight (paper, 100). Tiles of functions for any number of rows are made for this many: 1.01 for four, 1.06 for
    # twelve (six shapes, 50).
    piece: int = SAMPLES_AT_ONCE  # the most samples whose activations are kept at a time
    bias_chains: int = 4
    rows_of_any_matrix: int = 8
    is_wide: bool = False  # whether a matrix does not fit into a core's second cache
    rows_fetched_ahead: int = 16  # of what products meet, where that comes from far
    unit_of_samples: int = 4  # of which each thread has whole numbers: those of small tiles

    # The rows of data of so many bytes, which a core's second cache does not hold, are asked for before they are
    # needed: those of the next batch, or of a single sample to come. Without, a million rows: 1.2 to 1.4 (20-64-32-2,
    # 32), 1.8 (20-16-2, 1), where 2 to 32 samples ahead make no difference.
    fewest_bytes_fetched: int = 1 << 20
    samples_fetched_ahead: int = 4

    # Calls
    divided: bool = False  # whether several threads may run an epoch
    rows_per_call: int
    fewest_rows_divided: int = 0  # of a call that several threads run
    most_epochs_per_call: int = MOST_EPOCHS_PER_CALL

    @property
    def rows_per_share(self) -> int:
        """The rows that pass forward in one call: few, so that cores are busy to the end.

        An eighth is chosen: shares of a whole to a 128th were measured on busy cores, and differed by less than the
        noise.
        """
        return max(1, self.rows_per_call // 8 // self.piece) * self.piece

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
        return (4,) if self.divided else ()

    @property
    def brief_rule(self) -> bool:
        """Whether the optimizer's rule is to be emitted few times."""
        return self.long_rule and not self.in_one_piece

    def copied(self, matrices: Sequence[Matrix]) -> list[Matrix]:
        """Which small matrices are kept transposed as well, where samples are taken one by one.

        None are where an optimizer remembers something, which would have to be kept so, too.
        """
        room = self.most_copied_vectors * self.lanes
        found: list[Matrix] = []
        if self.remembers:
            return found
        for matrix in reversed(matrices[1:]):  # the gradient of the data is of no use
            size = max(matrix.bias_offset - matrix.offset, matrix.size_transposed(self.lanes))
            if matrix.input_major and not self.divides(matrix) and size <= room:
                found.insert(0, matrix)
                room -= size if self.in_one_piece else 0
        return found

    @property
    def packs_tails(self) -> bool:
        """Whether rows share vectors for their last columns; copies gain more, and functions are to be short."""
        return self.remembers and self.in_one_piece and not self.divided

    def divides(self, matrix: Matrix) -> bool:
        """Whether threads divide the units of a layer among them where samples are taken one by one."""
        blocks = vectors(matrix.columns, self.lanes * self.product_width)
        return (
            self.divided and matrix.input_major and blocks > 1 and matrix.rows * matrix.columns >= self.fewest_divided
        )

    @property
    def unrolled(self) -> Unrolled:
        """Less is unrolled in functions, and no product where a long rule is applied within it."""
        most = self.unrolled_in_one_piece
        if self.in_one_piece:
            return most
        products = 0 if self.long_rule else most.products // 4
        return attrs.evolve(most, vectors=1, products=products, transposed_blocks=0)

    def in_functions(self) -> "Policy":
        """The policy for what runs seldom and need not be fast: at least equal layers share functions."""
        return attrs.evolve(self, sharing=Sharing.EQUAL_SIZES) if self.in_one_piece else self


@functools.lru_cache(maxsize=256)
def policy_of(program: Program, target: Target) -> Policy:
    """The policy for a network; raises `CannotFuseError` where its expressions are no more what they were."""
    program.check_unchanged()
    lanes = lanes_of(program, target)
    lengths = {activation_code(layer): activation_lengths(layer) for layer in activations(program)}
    rule_length, slots = 0, 0
    if isinstance(program, TrainingProgram):
        rule_length, slots = rule_length_of_a_vector(program.optimizer, program.penalty), len(program.optimizer.slots())
    sharing, operations = _sharing(program, lanes, lengths, rule_length), operations_per_row(program, slots)
    many = len(all_steps(program.steps)) > MOST_STEPS_CALLED_ONE_BY_ONE
    is_wide = any(step.in_features * step.out_features > WIDE for step in affine_steps(program.steps))
    policy = Policy(
        lanes=lanes,
        registers=32 if target.vector_bytes == 64 else 16,
        sharing=sharing,
        calls_in_tables=sharing is Sharing.ALL or many,
        short=_short(program, sharing, lengths),
        long_rule=rule_length > LONG_RULE,
        remembers=slots > 0,
        is_wide=is_wide,
        piece=SAMPLES_AT_ONCE_IF_WIDE if is_wide else SAMPLES_AT_ONCE,
        rows_per_call=OPERATIONS_PER_CALL * lanes // (8 * operations),
        fewest_rows_divided=FEWEST_OPERATIONS_OF_A_CALL // operations,
    )
    if not isinstance(program, TrainingProgram) or program.batch_size > 1:
        return policy
    # The sums of a divided layer are those of its blocks, on one thread as well.
    divided = attrs.evolve(policy, divided=True)
    return divided if _weights_divided(program, divided) >= FEWEST_WEIGHTS_DIVIDED else policy


# A batch is divided among threads where each gets so many samples, and so many operations as `operations_per_row`
# counts. What is divided has to go from one core's cache to another's: the weights once a batch, however few samples
# there are, and what is kept of half the samples. On two cores that share a cache, of the time on one: 0.65 (17-64-64-6
# at batch size 64), 0.70 (30-128-64-2, 32), 0.65 (256), 0.57 (784-256-128-10, 32), 0.54 (128); with fewer samples 0.82
# (30-128-64-2, 16) and 1.10 (8), and with fewer operations 0.73 (10-32-32-2, 128), 0.93 (32) and 1.2 (paper, 100). On
# two cores that share none, which a virtual machine may be given, 1.6, 2.0, 1.2, 1.4 and 0.77 for the first five.
FEWEST_SAMPLES_OF_A_THREAD = 16
FEWEST_OPERATIONS_OF_A_THREAD = 1_000_000
# Calls of fewer rows than make so many operations are over before the other threads are awake, after 25 to 90 µs.
FEWEST_OPERATIONS_OF_A_CALL = 50_000_000


# Where samples are taken one by one, the units of wide layers are divided where these have so many weights in all, and
# each thread gets so many: 0.64 on two cores that share a cache, and 1.01 on one (784-256-128-10). A sample takes three
# meetings there, and about a microsecond that is not divided.
FEWEST_WEIGHTS_DIVIDED, FEWEST_WEIGHTS_OF_A_THREAD = 100_000, 50_000


@functools.lru_cache(maxsize=256)
def threads_of(program: Program, target: Target, most: int) -> int:
    """On how many threads an epoch is faster than on fewer, `most` at most."""
    if not isinstance(program, TrainingProgram):
        return 1
    if program.batch_size == 1:
        policy = policy_of(program, target)
        return max(1, min(most, _weights_divided(program, policy) // FEWEST_WEIGHTS_OF_A_THREAD))
    samples = min(program.batch_size, policy_of(program, target).piece)
    operations = samples * operations_per_row(program, len(program.optimizer.slots()))
    return max(1, min(most, operations // FEWEST_OPERATIONS_OF_A_THREAD, samples // FEWEST_SAMPLES_OF_A_THREAD))


def _weights_divided(program: Program, policy: Policy) -> int:
    """How many weights of layers are divided among threads where samples are taken one by one."""
    matrices = Layout.of(program, policy.lanes).matrices
    return sum(matrix.rows * matrix.columns for matrix in matrices if policy.divides(matrix))


def lanes_of(program: Program, target: Target) -> int:
    """The numbers of a program's type in a vector of the target."""
    return target.lanes(number_bytes(program))


def number_bytes(program: Program) -> int:
    """The size of a number of a program's type."""
    return 4 if program.dtype == torch.float32 else 8


Lengths = dict[str, tuple[int, int]]


def _sharing(program: Program, lanes: int, lengths: Lengths, rule_length: int) -> Sharing:
    layers, size = affine_steps(program.steps), Layout.of(program, lanes).size
    few = len(layers) <= MOST_LAYERS_IN_ONE_PIECE and size <= MOST_VECTORS_IN_ONE_PIECE * lanes
    # Each vector of parameters and of features has the expressions once.
    steps = pointwise_steps(program.steps)
    of_features = sum(sum(lengths[step.code]) * vectors(step.features, lanes) for step in steps)
    if few and rule_length * size // lanes + of_features <= MOST_INSTRUCTIONS_IN_ONE_PIECE:
        return Sharing.NONE
    shapes = {(layer.in_features, layer.out_features, layer.bias) for layer in layers}
    few = len(shapes) <= MOST_SHAPES and len(lengths) <= MOST_SHAPES
    few = few and len(shapes) * rule_length <= MOST_INSTRUCTIONS_OF_RULES
    return Sharing.EQUAL_SIZES if few else Sharing.ALL


def _short(program: Program, sharing: Sharing, lengths: Lengths) -> int:
    if sharing is Sharing.ALL and len(lengths) > MOST_FUSED:
        return -1
    steps = pointwise_steps(program.steps)
    together = sum(length for step in steps for length in lengths[step.code] if length <= SHORT)
    return SHORT if sharing is Sharing.NONE and together <= MOST_SHORT_IN_ONE_PIECE else VERY_SHORT


def operations_per_row(program: Program, slots: int) -> int:
    """About how many operations the training on a row takes, with an optimizer of `slots` slots."""
    of_a_weight = OPERATIONS_PER_WEIGHT + OPERATIONS_PER_SLOT * slots
    sizes = [(step.in_features, step.out_features) for step in affine_steps(program.steps)]
    of_units = sum(outputs * (of_a_weight * inputs + OPERATIONS_PER_UNIT) for inputs, outputs in sizes)
    return OPERATIONS_PER_ROW + of_units


# Networks that the engine refuses. The loss of a sample is emitted without loops, so its vectors of outputs are few.
# The instructions that the expressions of a program make are bounded, where the rule counts `RULES` times: about as
# often as it is emitted. The code does not grow with the number of steps, but the table of its calls does.
MOST_OUTPUT_VECTORS = 64
MOST_INSTRUCTIONS, RULES = 10_000, 20
MOST_STEPS = 2000
