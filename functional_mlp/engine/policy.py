"""The policy of the engine: every number that decides between ways to make code, or to run it, with what it gains.

A `Policy` is a value. What it decides for a program is the program's `Plan` (`functional_mlp.engine.plan`), or that of
a group of networks (`functional_mlp.engine.members.plan`). The engine follows `MEASURED`; whoever hands in another
policy, as tests do, is given the code and the calls that follow from it.

Figures are times of an epoch in float32 with another number, as a share of that with the one that stands here, on an
x86-64 with AVX-512 (48 KB of first cache a core). `benchmarks/policies.py` takes those of the fields in its table
`TRIALS`, and no others. "Paper" is its network, 2-25-25-25-2, "six shapes" 8-64-48-33-20-64-4, "ten layers" ten of 25
units, "wide" 200-256-128-10; the number after it is the batch size. Other work ran on the machine: differences of a few
hundredths mean nothing.

Not here: facts of processors (`plan`, `batch/matmul.py`, `llvm/target.LINE_BYTES`), what all policies share
(`layout.CROWDED`, `single/tails.MOST_TAILS`, `plan.PAIR`), the limits of the disk (`cache`), and what the engine can
express (`llvm/vector.LARGEST_EXPONENT`, `lowering.MOST_SAMPLES`).
"""

import attrs


@attrs.frozen(kw_only=True)
class Unrolled:
    """How many of something are treated one after the other; of more, a loop is made.

    The fewer there are, the shorter the code. Where no case is named, they are paper, 1 and 10, and 16-32-10, 1.
    """

    vectors: int = 8  # vectors of features; 1.00 for one (paper, 1)
    products: int = 128  # operations on vectors of one product; 1.01 for none and for 32, 1.00 for 512 (paper, 1)
    # Blocks of rows, and of columns, of a matrix that is transposed; 0.98 to 1.00 for none, one and eight.
    transposed_blocks: int = 2
    row_blocks: int = 2  # blocks of rows of a product; 0.98 to 1.00 for none, one and eight
    column_blocks: int = 2  # blocks of columns of a product; 0.98 to 1.00 for none, one and eight
    # Vectors of the gradient of an input, where rows are outputs; 0.98 to 1.00 for none, one and sixteen.
    grad_vectors: int = 4


@attrs.frozen(kw_only=True, cache_hash=True)
class Policy:
    """How the engine chooses; the defaults are what was measured."""

    # How layers share functions

    # Programs of at most this many linear layers, with few vectors of weights and instructions, are emitted in one
    # piece. In others, layers share functions, which bounds the code and the time to make it: for the paper's network
    # 1.47 at batch size 1, 1.38 with momentum and 1.10 at 10 in functions for equal sizes, 1.84, 1.69 and 1.33 in
    # functions for any size. With ten layers one piece would be faster at batch size 1, 0.45, and not at 50, 1.01.
    most_layers_in_one_piece: int = 4
    # The vectors of weights of such a program: the paper's network has 115. With more, one piece would be faster at
    # batch size 1, 0.71 (six shapes), 0.91 (2-80-80-2), 0.94 (2-128-128-2), and hardly at 50, 0.91 and 1.00 for the
    # first two, but the code takes longer to make: 0.45 s instead of 0.30 (2-80-80-2, 50).
    most_vectors_in_one_piece: int = 320
    # The instructions that the expressions of such a program make. With more, one piece would be faster, 0.90
    # (2-64-64-2 with GELU under Adam, 1; 5630 of them), 0.92 (2-80-80-2 under Adam, 1; 6094), but the code takes longer
    # to make: 0.57 s instead of 0.29 (the latter).
    most_instructions_in_one_piece: int = 4500

    # Layers of at most this many shapes, under at most this many activations, have functions that know the sizes.
    # Others share functions for any size: for the ten layers, which have three shapes, 1.09 (50), though 0.71 at batch
    # size 1. With more shapes, functions for equal sizes take 0.78 (six shapes, 1) and 0.93 (50), but are as many.
    most_shapes: int = 3
    # The instructions of the optimizer's rule over all shapes, where each of them has it: 1.06 for functions for equal
    # sizes where it is emitted once (20-100-100-4, 200, Adam, in float64).
    most_instructions_of_rules: int = 32

    # In networks of more steps, the functions are not called one by one, but by a loop over a table, which bounds the
    # code. It costs nothing: 1.00 (ten layers, 50), 1.01 (six shapes, 1); and 0.51 (ten layers, 1).
    most_steps_called_one_by_one: int = 50

    # Activations of at most this many instructions are emitted, in one piece, wherever a product has made their
    # argument. For none, 1.09 (paper, 100), and with tanh, which is long, 1.02 (2-25-25-25-2, 100).
    short_activation: int = 60
    # The same in functions, and in one piece where too many are short: for none, 1.04 (six shapes, 50) and 1.08 (ten
    # layers, 50), for 60 as many, 1.00 and 1.00; in one piece 0.98 for these alone (2-25-25-25-2 with tanh, 100).
    very_short_activation: int = 8
    # The instructions of all short activations in one piece, which bounds the code: 0.99 to 1.00 for none and 1.00 to
    # 1.02 for all (paper with ReLU, ELU and tanh, 100).
    most_short_in_one_piece: int = 170
    # Functions for any size have a copy for each activation that products emit, and none where there are more of them:
    # 1.02 and, in another run, 1.04 for none, 0.99 for ten (six shapes, 50).
    most_fused: int = 2

    # Rules of more instructions are long: shared functions apply them to one vector at a time, which bounds the code
    # and costs little: 1.02 and 1.03 for Adam's, were it long (six shapes, 50 and 1).
    most_instructions_of_a_short_rule: int = 20

    # What is emitted one after the other

    unrolled_in_one_piece: Unrolled = Unrolled()
    # In functions, whose code is to be short: 0.97 to 1.04 for no vectors and for eight, 1.00 to 1.03 for no products
    # and for 128, 1.00 for two transposed blocks (six shapes and ten layers, 1 and 50).
    unrolled_in_functions: Unrolled = Unrolled(vectors=1, products=32, transposed_blocks=0)
    # Blocks of at most this many numbers are transposed number by number: 1.00 for none, 1.02 for 128 (paper, 10).
    one_by_one: int = 32
    # The largest of at most this many outputs is found without a loop: 1.00 for none, 1.01 for 16 (paper, 1), which
    # would be 0.96 (16-32-10, 1).
    most_outputs_compared: int = 4
    # The losses of at most this many outputs are added number by number: 1.00 for none and for 16 (paper, 1).
    most_outputs_added: int = 2

    # Single samples

    # The loss of more vectors of outputs is a function of its own: 1.01 for all, 1.00 for none (8-40-100).
    most_loss_vectors: int = 4
    # Matrices of at most this many vectors are kept transposed as well; in one piece, the last ones that have no more
    # together. There, for none and for all: 1.05 and 1.06 (paper), 1.13 and 1.00 (2-16-16-16-2), 1.05 and 1.03
    # (2-20-20-20-2), 1.03 and 1.06 (2-30-30-30-2), 1.02 and 1.08 (20-25-25-25-4); in functions, as many as in one
    # piece: 1.43 (ten layers).
    most_copied_vectors: int = 60
    # The vectors of a row that are met side by side: in two runs 1.24 and 2.01 for one, 1.02 for two, 1.00 and 0.96 for
    # eight (paper); 1.93, 1.08 and 0.91 (wide). Eight need all registers of AVX-512, and more than others have.
    product_width: int = 4
    # The sums of a product that run side by side, to hide the latency of additions: in two runs 1.12 and 1.42 for two,
    # 0.96 and 1.00 for four, 1.01 and 1.04 for sixteen (paper).
    product_chains: int = 8
    # Those of the product of a tail: 1.01 for one and for four (paper, momentum).
    tail_chains: int = 2
    # The weights of a layer whose units threads divide among them, where they divide any: 1.00 for half as many
    # (784-128-64-10), 1.10 for twice (784-128-128-10), 1.08 for four times (784-256-128-10), on two cores.
    fewest_weights_of_a_divided_layer: int = 1 << 14

    # Batches

    # The samples of a batch that pass through the network together: 0.98 for 32, 0.99 for 64, 1.05 for 512 (paper,
    # 500).
    samples_at_once: int = 128
    # The same through wide layers, as all weights' gradients are added up with each piece: 1.08 for 256, 1.19 for 128
    # (784-1024-1024-10, 512).
    samples_at_once_if_wide: int = 512
    # A layer of more weights is wide: these take a megabyte in float32, what a core's second cache holds. 0.98 for
    # twice as many (784-512-10, 512), 1.01 for half (784-256-10, 512).
    most_weights_of_a_cache: int = 1 << 18
    # Of small networks' batches, of more samples than `samples_at_once`, fewer pass together, so that their activations
    # stay in a core's first cache: without, 1.18 (4-100-3, 150, in float64), 1.10 (30-100-1, 200), 1.03 (20-100-100-4,
    # 200). Their gradients are sums over all samples in a row, however many pass together: so threads, which do better
    # with more of them, find the same.
    samples_at_once_if_small: int = 32
    # A network of at most this many weights is small: 0.99 for none (20-100-100-4, 200), 1.01 for 64 times as many
    # (64-128-128-10, 300).
    most_weights_of_small: int = 1 << 14
    # The samples of such a batch, whose sums lose digits with their length: 0.99 for none (paper, 500), 1.00 for eight
    # times as many (paper, 2000).
    most_samples_in_a_row: int = 512
    # The registers that hold sums of a product, as a share of those that there are; the others hold what is multiplied.
    # In two runs 0.99 to 1.00 for half, 0.99 to 1.01 for five eighths, 1.00 to 1.02 for seven eighths (paper, 100;
    # wide, 32; six shapes, 50).
    share_of_registers: float = 0.75
    # Layers whose units fill at most this share of a vector may have sums over the lanes for their products with a
    # batch. For none 1.15 (4-100-3, 150, in float64), 1.05 (paper, 10), 1.06 and 1.03 (64-32-4 and 64-32-7, 50); for a
    # quarter 1.03 (64-32-7, 50); for all 1.00 (64-32-12, 50).
    largest_share_of_lanes: float = 0.5
    # The vectors of a bias's gradient whose sums in a row run side by side, a power of two: 1.00 for one, two and eight
    # (paper, 500; 20-100-100-4, 200).
    bias_vectors: int = 4
    # The sums of a bias's gradient over the samples that run side by side, a power of two: 1.04 for one, 1.00 for eight
    # (paper, 100).
    bias_chains: int = 4
    # Of at most this many outputs, the losses of as many samples as a vector has lanes are met at once, one in a lane:
    # for never, 1.37 and 1.40 under the cross-entropy and 0.98 and 1.01 under the squared error (paper, 10 and 100).
    # More would gain as much, 0.45 (20-32-32, 50) and 0.42 (20-32-64), but the code takes 0.2 and 0.3 s longer to make.
    most_outputs_side_by_side: int = 16
    # Tiles of functions for any number of rows are made for this many: 1.01 for four, 1.06 for twelve (six shapes, 50).
    rows_of_any_matrix: int = 8
    # Rows of what products meet are asked for this far ahead, where they come from far: 1.05 for 32, 1.10 for 64
    # (784-256-128-10, 32, on two cores).
    rows_fetched_ahead: int = 16
    # The same in wide networks: 1.05 for 16, 64 and 96 (784-1024-1024-10, 256, on one core).
    rows_fetched_ahead_if_wide: int = 32
    # Threads have whole numbers of this many samples each, those of small tiles: 0.99 to 1.01 for one, two and eight,
    # 1.12 for sixteen, which gives one of two threads 32 samples of 50 (30-128-64-2, 50).
    unit_of_samples: int = 4
    # The weights of a first layer whose units threads divide among them, and not the samples: on two cores 1.08 for
    # none (784-256-128-10, 32), 1.05 for twice as many (128-256-128-10, 32), 0.96 for half (64-256-128-10, 32).
    fewest_weights_divided_by_units: int = 1 << 15
    # The pairs of vectors that each thread then has at least, where it has not as many as the others: 1.13 for one and
    # for two (784-160-10, 32, five pairs), 0.97 for eight (784-288-10, 32, nine).
    fewest_pairs_of_a_thread: int = 4
    # The samples of such a batch for each unit: what goes from core to core is then half the weights, and otherwise
    # half the outputs. On two cores, in two runs, undivided units took 1.18 and 0.98 of the time (784-128-10, 32), 1.01
    # and 0.97 at one for each (784-128-10, 128), 0.90 and 0.86 at two (784-64-10, 128), 0.99 above (784-96-10, 256).
    most_samples_for_a_unit: int = 2
    # The samples of such a batch that are read where they lie in the data; copies of more are made, for their rows are
    # in more pages than a processor has at hand. On two cores, for none 1.04 (784-256-128-10, 32) and 1.02 (64;
    # 300-256-10, 48), for all 1.04 (784-256-128-10, 128; 784-1024-1024-10, 256). On two that share no cache, for none
    # 1.10 (32), for all 0.97 (128).
    most_samples_in_data: int = 64

    # Data

    # The rows of data of more bytes, which a core's second cache does not hold, are asked for before they are needed:
    # those of the next batch, or of a single sample to come. Without, a million rows: 1.2 to 1.4 (20-64-32-2, 32), 1.8
    # (20-16-2, 1). For data of any size, 1.00 (paper, 1 and 10).
    fewest_bytes_fetched: int = 1 << 20
    # Single samples are asked for this far ahead: 2 to 32 make no difference (20-16-2, 1, a million rows).
    samples_fetched_ahead: int = 4
    # Of a long row this many lines are asked for: the processor itself asks for what follows them. For one, for four
    # and for sixteen: 1.08, 1.06 and 0.99 (100-32-2, 32, 200,000 rows), 1.03, 1.00 and 0.98 (784-32-10, 1, 30,000).
    most_lines_fetched: int = 8
    # Of the rows of mapped files this many bytes are copied at a time, read as they lie in it. Without copies, which
    # leaves the whole file of 3 GB resident: 0.45 (256-2, 256), 0.99 (256-128-10, 256). For half as many 1.14 and 1.5,
    # for a quarter 1.5 and 1.4.
    most_bytes_copied: int = 1 << 28

    # Calls

    # A native call cannot be interrupted: with vectors of eight numbers it gets about this many operations, and more or
    # fewer with other vectors. That takes 9 ms (paper, 1), 5 with momentum, 7 with Adam, 12 with tanh, 6 (paper, 10), 8
    # (six shapes, 50), 12 and 6 (wide, 1 and 32), 5 (2-2, 1): Ctrl-C is heard at once, and what Python does between
    # calls, some tens of microseconds, is not seen. With n threads a call gets n times the operations.
    operations_per_call: int = 1_000_000_000
    # What a row costs in operations whatever the network, its loss above all. The figures before show how far this and
    # the three below are right; for none, a call would take 94 ms and not 5 (2-2, 1).
    operations_per_row: int = 4000
    # What a unit costs, its activation above all: for none, a call would take 15 ms and not 9 (paper, 1).
    operations_per_unit: int = 100
    # What a weight costs, without an optimizer's memory: for none, a call would take 150 ms and not 12 (wide, 1).
    operations_per_weight: int = 6
    # What a weight costs for each slot of the optimizer: for none, a call would take 26 ms and not 7 (paper, 1, Adam).
    operations_per_slot: int = 20
    # The parts of such a call that the rows of a pass forward are divided into, so that cores are busy to the end: for
    # one to 128 the times differed by less than the noise of busy cores.
    shares_of_a_call: int = 8
    # Of short epochs a call gets no more: their keys and learning rates, and what becomes of them, take Python's time,
    # 1.4 µs an epoch, and memory. Fewer take 1.12 (64) and 1.03 (128), and more 1.03 (512) and 0.99 (1024), of the time
    # of a `fit` (2-2, five rows).
    most_epochs_per_call: int = 256
    # Epochs that are trained before callbacks are told of the first of them, where they are so short that one call
    # could train `looks_in_a_call` times their number: some 1 ms. An empty callback then makes an epoch of 200
    # samples 1.9 times as long (2-2, squared errors) and 1.2 (paper), with 32 ahead 2.1 and 1.25, with 16 2.4 and 1.3,
    # with 128 1.9 and 1.2, and one by one 6.6 and 2.3.
    most_epochs_ahead: int = 64
    # The times that callbacks are told within what one call could train. With fewer, callbacks and what they end are
    # later; with more, `fit` with an empty callback takes longer. For two, four, sixteen and 32, 0.99, 0.99, 1.02 and
    # 1.06 (paper, epochs of 1000 samples).
    looks_in_a_call: int = 8
    # Epochs that early stopping will not end, whatever they show, are trained in one call: as many as have states of no
    # more bytes, which are kept to go back to the best of them. For none, 2^18, 2^19, 2^21 and 2^22 a `fit` takes 1.05,
    # 1.04, 1.03, 0.99 and 1.01 of the time (30-100-1, 569 rows), and 1.03, 1.03, 1.01, 1.00 and 0.98 (64-100-10, 1797
    # rows), all with Adam in float64.
    most_bytes_ahead: int = 1 << 20
    # Passes forward of fewer multiplications are soon over with torch, while the code is yet to be made. The first pass
    # of a process at this number, on two busy cores, took torch 0.66 and 0.16 s (8-64-64-1, 64-256-256-10), the engine
    # 0.20 and 0.18 where its code was on disk, 0.36 and 0.33 where it was not; at four times as many, torch 2.2 and
    # 0.64, the engine 0.27 and 0.22 at most. Later passes took the engine less than a third of torch's time.
    fewest_products: int = 500_000_000
    # While native code runs for longer than a few microseconds, other threads are let run. A step of an `Online` of
    # which a call of `operations_per_call` holds at least this many is short, and they are not: 1.02 where they are,
    # and nobody else runs (paper).
    fewest_steps_in_a_call: int = 1000
    # Batches of these many sizes of an `Online` have their code kept, the latest: some 120 kB each. A step of another
    # size takes 1 ms, to find its code on disk, in place of 0.02 (2-25-25-2, 2 to 65 rows).
    most_kept_calls: int = 64
    # To have memory of ctypes takes 0.1 µs where a tensor takes 0.7, but it is set to 0 first: 1 µs more for 150 kB.
    most_bytes_of_ctypes: int = 1 << 16

    # Orders

    # The rows of all orders of a run for which it is worth to load LLVM, whichever engine trains: to load it takes 0.2
    # to 0.6 s, to draw a million rows 0.1 s in Python and 0.002 s in native code.
    fewest_rows_drawn_natively: int = 5_000_000
    # Places that one call draws, a multiple of eight, in 21 ms, after which Ctrl-C is heard. Of the time for 16 million
    # 1.00 for a quarter, 0.99 for four times as many.
    places_per_call: int = 1 << 22
    # Places are drawn this far ahead of their use, and prefetched. The shuffle of five million takes 3.3 times as long
    # without, and with 64 of them, 1.04 with 1024.
    places_drawn_ahead: int = 256

    # Threads

    # A batch is divided among threads where each gets this many samples. What is divided has to go from one core's
    # cache to another's: the weights once a batch, however few samples there are, and what is kept of half the samples.
    # On two cores that share a cache, of the time on one: 0.65 (17-64-64-6 at batch size 64), 0.70 (30-128-64-2, 32),
    # 0.65 (256), 0.57 (784-256-128-10, 32), 0.54 (128); with fewer samples 0.82 (30-128-64-2, 16) and 1.10 (8). On two
    # cores that share none, which a virtual machine may be given, 1.6, 2.0, 1.2, 1.4 and 0.77 for the first five.
    fewest_samples_of_a_thread: int = 16
    # And this many operations: with fewer, 0.73 (10-32-32-2, 128), 0.93 (32) and 1.2 (paper, 100) of the time on one.
    fewest_operations_of_a_thread: int = 1_000_000
    # Calls of fewer operations are not divided: other threads are awake only after 25 to 90 µs. On two cores that
    # gained little, of the time on one: 1.03 for four times as many, 1.33 for as many, 1.44 for half, 3.3 for a tenth
    # (30-128-64-2, 50).
    fewest_operations_of_a_divided_call: int = 50_000_000
    # Where samples are taken one by one, the units of wide layers are divided where these have this many weights in
    # all: 0.64 of the time on one core on two that share a cache (784-256-128-10). Code that may be divided takes 1.01
    # on one.
    fewest_weights_divided: int = 100_000
    # The weights that each thread then gets. A sample takes three barriers, and about a microsecond that is not
    # divided. On two cores, of the time on one: 0.75 for 100,000 each (784-256-10), 1.00 for 50,000 (784-128-10), 1.41
    # for 25,000 (784-64-10).
    fewest_weights_of_a_thread: int = 50_000
    # The height of the tiles that take the rows which are left over by those of a product, where threads divide them;
    # what they leave is taken row by row. On two cores 1.12 for one, 0.99 for two and for six (30-128-64-2, 44 and 50).
    height_of_rests_if_divided: int = 4
    # How often a thread looks for the others before it lets these run. On two quiet cores more gain nothing; beside
    # fifteen other programs epochs of 30-128-64-2 at batch size 256 took 9 ms with 3 looks, 18 to 23 with 30 or 100, 31
    # with 1000, and 132 with 10,000.
    looks: int = 3

    # Groups of networks that are trained at once

    # A group's weights, with what the optimizer remembers and a batch's gradients, are to lie in a core's first cache.
    # Where those of as many members as a vector has lanes do not, half as many are taken together, and where theirs do
    # not either, each is trained by itself. A fit alone took 0.92 to 2.3 of a member's time where they do, 1.34 in the
    # middle, and 0.67 to 1.41 where they do not, 0.97 in the middle: 2-w-2 to 2-w-w-w-2 with w from 2 to 64 at batch
    # sizes 1, 10 and 50 with SGD.
    first_cache_bytes: int = 48 << 10
    # No more networks than this share of a group are trained one by one. A group takes as long, however few it has, as
    # this share of its networks one by one: 0.73 (paper, 1), 0.92 (paper, 10), 0.29 (2-8-2, 1), 0.46 (2-8-2, 10), 0.44
    # (2-20-20-2 with tanh, 1).
    least_share_of_a_group: float = 0.5
    # The same as `operations_per_call`, counted in operations on vectors: a call takes 4 ms (paper, 1), 7 (paper, 10),
    # 9 (2-20-20-2, 1, Adam). 1.05 for a quarter, 1.00 for half, 0.99 for twice as many (paper, 1).
    vector_operations_per_call: int = 120_000_000
    # Losses of groups are emitted without loops, so outputs are few, for the time to make the code. It takes 0.06 s for
    # the paper's network, at the limit 0.2 s (2-8-32 under the cross-entropy), and at 64 outputs 0.5, where members
    # would still be trained faster together, by 3.0.
    most_outputs_of_members: int = 32
    # Each step of a group has code of its own, which holds its expressions about this many times at most. Five were
    # counted for layers of 25 units (four in a loop, and one), seven follow for 27, and more with vectors that hold two
    # numbers of each member. Chosen, not measured.
    copies: int = 10
    # The instructions of a group's code, by `copies`: to make it takes, at the limit, 0.4 to 0.8 s (five layers with
    # GELU under Adam, twenty with tanh). With 24 layers of five units, which are beyond it, members would still be
    # trained faster together, by 9.6.
    most_instructions_of_members: int = 12_000
    # A batch of a group is not divided between calls: 1000 samples take at most about a millisecond, in which Ctrl-C is
    # not heard. Chosen, not measured.
    most_samples_of_members: int = 1000
    # The units that are treated one after the other in the body of a loop: for one and for eight, 1.01 and 1.00 (paper,
    # 1), 1.06 and 0.86 (paper, 10), 1.02 and 0.95 (2-8-2, 1); but with eight the code takes 0.09 s to make instead of
    # 0.06, which only hundreds of epochs earn.
    unrolled_units: int = 4
    # The rows of a matrix that are met at a time, as many as registers hold: for four and for sixteen, 1.00 and 1.10
    # (paper, 1), 1.00 and 0.84 (paper, 10), 0.99 and 1.07 (2-20-20-2, 1, Adam); with sixteen the code takes 0.13 s to
    # make.
    most_rows_of_members: int = 8

    # Networks that the engine refuses

    # To make the code takes 0.24 s for the paper's network, and at each of these limits about a second.

    # The loss of a sample is emitted without loops, so its vectors of outputs are few: 0.74 s at the limit, for the
    # cross-entropy of 1024 outputs.
    most_output_vectors: int = 64
    # The instructions that the expressions of a program make: 0.81 s for an activation of thousands of them.
    most_instructions: int = 10_000
    # The optimizer's rule counts this many times among them, about as often as it is emitted: 1.57 s for a rule of
    # twice what that allows.
    rules: int = 20
    # The code does not grow with the number of steps, but the table of its calls does: 1.05 s at the limit.
    most_steps: int = 2000


MEASURED = Policy()
