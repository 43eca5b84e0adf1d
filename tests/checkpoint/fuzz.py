"""Loads mutated and random files: `python -m tests.checkpoint.fuzz [FILES] [SEED]`.

Each must be refused with a `CheckpointError`, or loaded as what it says: damaged files, whose digest is wrong, must all
be refused. The memory that refused files took must stay within twice the largest of them, and a margin.
"""

import json
import os
import random
import sys
import tempfile
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any

import functional_mlp as fm
from tests.checkpoint import cases

MARGIN = 1 << 20
# What the address space of the process may grow by, torch's tensors included, where any claim would be of gigabytes.
LARGEST_GROWTH = 256 << 20

NUMBERS = [0, 1, -1, 2**31, 2**40, 2**60, 2**63, 2**64, 10**30, 1.5, True, None, "", [], {}, "type", [2**40] * 3]


def main(files: int, seed: int) -> None:
    draw = random.Random(seed)
    originals = make_originals()
    outcomes: Counter[str] = Counter()
    before, worst = address_space(), 0
    tracemalloc.start()
    memory = "/dev/shm"  # writing there takes no time
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as folder:
        path = Path(folder) / "model.safetensors"
        for _ in range(files):
            kind, content = mutated(draw, draw.choice(originals))
            if content in originals:
                kind = "unchanged"
            path.write_bytes(content)
            tracemalloc.reset_peak()
            start = tracemalloc.get_traced_memory()[0]
            outcome = loaded(path, must_fail=kind not in ("signed", "unchanged"))
            worst = max(worst, tracemalloc.get_traced_memory()[1] - start - 2 * len(content))
            outcomes[f"{kind} {outcome}"] += 1
            assert worst < MARGIN, f"{worst} bytes more than twice the file"
    growth = address_space() - before
    assert growth < LARGEST_GROWTH, f"{growth} bytes of address space"
    print(dict(outcomes), f"{worst} bytes beyond twice the file, {growth >> 20} MiB more address space")


def make_originals() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        cases.save(path, cases.fit(epochs=3))
        contents = [path.read_bytes()]
        fm.save(path, cases.special_params(), network=fm.Sequential(fm.Linear(2, 4)), optimizer=fm.SGD(1.0), extra=[1])
        contents.append(path.read_bytes())
        fm.save(path, fm.Linear(300, 100).init(cases.KEY), network=fm.Linear(300, 100), optimizer=fm.Adam(1.0))
        return [*contents, path.read_bytes()]


def loaded(path: Path, must_fail: bool) -> str:
    """Load a file; what it holds must then be saved and loaded as the same again."""
    try:
        saved = fm.load(path)
    except fm.CheckpointError:
        return "refused"
    assert not must_fail, f"a damaged file was loaded: {path.read_bytes()!r}"
    state = saved.params if saved.state is None else saved.state
    values = {"network": saved.network, "optimizer": saved.optimizer, "loss": saved.loss, "history": saved.history}
    copy = path.with_name("copy")
    fm.save(copy, state, **values, extra=saved.extra)
    again = fm.load(copy, network=saved.network, optimizer=saved.optimizer)
    assert fm.pytree.equal(again.params, saved.params)
    return "loaded"


def mutated(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    """A file made from a good one, and how: damaged, signed after it was changed, or random."""
    kind = draw.choice(["damaged", "damaged", "signed", "signed", "random"])
    if kind == "random":
        random_bytes = draw.randbytes(draw.randrange(2000))
        return kind, draw.choice([random_bytes, content[: draw.randrange(200)] + random_bytes])
    if kind == "damaged":
        return kind, damaged(draw, content)
    if draw.random() < 0.6:
        return kind, cases.rewritten(content, lambda header, document: change_either(draw, header, document))
    header, data = cases.split(content)
    place = draw.choice(["header", "data", "all"])
    if place == "all":
        return kind, cases.signed(damaged(draw, content))
    header, data = (damaged(draw, header), data) if place == "header" else (header, damaged(draw, data))
    return kind, cases.joined(header, data)


def damaged(draw: random.Random, content: bytes) -> bytes:
    """Bytes with a few of them flipped, replaced, left out, doubled or put elsewhere."""
    changed = bytearray(content)
    for _ in range(draw.choice([1, 1, 1, 2, 5])):
        start = draw.randrange(len(changed) + 1)
        stop = min(start + draw.choice([1, 1, 8, 100]), len(changed))
        match draw.randrange(6):
            case 0 if start < len(changed):
                changed[start] ^= 1 << draw.randrange(8)
            case 1:
                changed[start:stop] = draw.randbytes(stop - start)
            case 2:
                del changed[start:stop]
            case 3:
                changed[start:start] = changed[start:stop]
            case 4:
                changed[start:stop] = changed[(other := draw.randrange(len(changed) + 1)) : other + stop - start]
            case 5:
                del changed[start:]
    return bytes(changed)


def change_either(draw: random.Random, header: dict[str, Any], document: dict[str, Any]) -> None:
    if draw.random() < 0.5:
        change(draw, document)
        return
    metadata = header.pop("__metadata__")
    change(draw, header)
    entries = dict(header)
    header.clear()
    header.update({"__metadata__": metadata, **entries})


def change(draw: random.Random, tree: Any) -> None:
    """Replace, remove, double or rename one thing in a tree of JSON."""
    places = [(node, key) for node in nodes(tree) for key in (node if isinstance(node, dict) else range(len(node)))]
    node, key = draw.choice(places)
    match draw.randrange(4):
        case 0:
            del node[key]
        case 1:
            node[key] = json.loads(json.dumps(draw.choice([other[name] for other, name in places])))
        case 2 if isinstance(node, dict):
            node[draw.choice(["params[0].weight", "type", "layers", "extra", "x"])] = node.pop(key)
        case _:
            node[key] = draw.choice(NUMBERS)


def nodes(tree: Any) -> list[Any]:
    """The objects and arrays of a tree of JSON that hold something."""
    if not isinstance(tree, dict | list):
        return []
    children = tree.values() if isinstance(tree, dict) else tree
    return [tree] * bool(tree) + [node for child in children for node in nodes(child)]


def address_space() -> int:
    """The most that the process has ever reserved, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmPeak"))) << 10


if __name__ == "__main__":
    numbers = list(map(int, sys.argv[1:]))
    main(*numbers, *(100_000, 0)[len(numbers) :])
