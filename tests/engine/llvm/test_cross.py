"""Code for processors that the tests need not run on: LLVM makes it, of the right kind, with what it must have."""

import struct
from collections.abc import Iterator

import attrs
import pytest
import torch
from llvmlite import binding

import functional_mlp as fm
from functional_mlp.engine.compiling import NetworkSource
from functional_mlp.engine.llvm import target as machine
from functional_mlp.engine.lowering import lower, lower_loss, lower_steps
from functional_mlp.engine.members.algebra import MembersRule
from functional_mlp.engine.members.compiling import GroupSource
from functional_mlp.engine.members.plan import members_plan_of
from functional_mlp.engine.members.program import MembersProgram
from functional_mlp.engine.plan import plan_of
from functional_mlp.engine.program import LossProgram, Program

LINUX = machine.Target("aarch64-unknown-linux-gnu", "generic", "", 16)
MAC = machine.Target("arm64-apple-darwin", "apple-m1", "", 16)

BLOCK = fm.Sequential(fm.Linear(9, 9), fm.GELU(), fm.Linear(9, 9, bias=False), fm.Sigmoid())
NETWORKS = {
    "small": fm.Sequential(fm.Linear(2, 9), fm.ReLU(), fm.Residual(BLOCK), fm.Softplus(), fm.Linear(9, 3)),
    "wide": fm.Sequential(fm.Linear(20, 70), fm.Tanh(), fm.Linear(70, 4), fm.LeakyReLU(0.1)),
    "deep": fm.Sequential(fm.Linear(2, 12), *[fm.Linear(12, 12), fm.SiLU()] * 20, fm.Linear(12, 2)),
}


@pytest.fixture(autouse=True, scope="module")
def _all_targets() -> None:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()


@pytest.fixture(params=[LINUX, MAC], ids=["linux", "mac"])
def target(request: pytest.FixtureRequest) -> machine.Target:
    chosen: machine.Target = request.param
    try:
        binding.Target.from_triple(chosen.triple)
    except RuntimeError:
        pytest.skip(f"this build of llvmlite makes no code for {chosen.triple}")
    return chosen


def is_of(code: bytes, target: machine.Target) -> bool:
    """Whether an object file is of the system and the processor of a target."""
    if target is LINUX:
        return code[:6] == b"\x7fELF\x02\x01" and struct.unpack_from("<H", code, 18) == (183,)  # EM_AARCH64
    return struct.unpack_from("<II", code) == (0xFEEDFACF, 0x0100000C)  # MH_MAGIC_64, CPU_TYPE_ARM64


def has_functions(code: bytes, target: machine.Target, *names: str) -> bool:
    """Whether names are in the table of an object's symbols."""
    prefix = "" if target is LINUX else "_"
    return all(f"\0{prefix}{name}\0".encode() in code for name in names)


def accesses_of_control_register(code: bytes) -> tuple[int, int]:
    """How many instructions read FPCR, and how many write it."""
    sections = [section.data() for section in binding.ObjectFileRef.from_data(code).sections() if section.is_text()]
    words = [word & ~0x1F for data in sections for (word,) in struct.iter_unpack("<I", data[: len(data) // 4 * 4])]
    return words.count(0xD53B4400), words.count(0xD51B4400)  # MRS and MSR, with whatever register


@pytest.mark.parametrize(
    ("network", "optimizer", "batch_size", "dtype"),
    [
        ("small", fm.SGD(0.1), 1, torch.float32),
        ("small", fm.Adam(0.1), 10, torch.float64),
        ("wide", fm.Momentum(0.1), 1, torch.float64),
        ("wide", fm.BatchGD(0.1, 3), 100, torch.float32),
        ("deep", fm.AdamW(0.1), 1, torch.float32),
        ("deep", fm.Nesterov(0.1), 10, torch.float64),
    ],
)
def test_an_epoch_is_made(
    network: str, optimizer: fm.Optimizer, batch_size: int, dtype: torch.dtype, target: machine.Target
) -> None:
    program = lower(
        NETWORKS[network], fm.CrossEntropy(), optimizer, batch_size=batch_size, class_targets=True, dtype=dtype
    )
    plan = plan_of(program, target)
    assert plan.lanes == 16 // dtype.itemsize
    code = machine.assemble(str(NetworkSource(program, plan).emit()), target)
    assert is_of(code, target)
    assert has_functions(code, target, "epoch", "epochs", "workspace_size")
    assert accesses_of_control_register(code) == (1, 2)  # denormal numbers are taken as zero, and then no longer


def measuring(dtype: torch.dtype) -> LossProgram:
    return lower_loss(NETWORKS["small"], fm.CrossEntropy(), class_targets=True, dtype=dtype)


@pytest.mark.parametrize("kind", ["evaluate", "predict"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_pass_forward_is_made(kind: str, dtype: torch.dtype, target: machine.Target) -> None:
    program: Program = measuring(dtype) if kind == "evaluate" else lower_steps(NETWORKS["small"], dtype=dtype)
    code = machine.assemble(str(NetworkSource(program, plan_of(program, target)).emit()), target)
    assert is_of(code, target)
    assert has_functions(code, target, kind, "workspace_size")
    assert accesses_of_control_register(code) == (0, 0)


@pytest.mark.parametrize("batch_size", [1, 10])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_epoch_of_many_networks_is_made(batch_size: int, dtype: torch.dtype, target: machine.Target) -> None:
    optimizers = [fm.Adam(0.1), fm.Adam(0.1, beta1=0.5)]
    program = MembersProgram(measuring(dtype), MembersRule.of(optimizers), batch_size)
    plan = members_plan_of(program.program, len(program.rule.slots()), batch_size, target)
    code = machine.assemble(str(GroupSource(program, plan).emit()), target)
    assert is_of(code, target)
    assert has_functions(code, target, "epoch", "workspace_size")
    assert accesses_of_control_register(code) == (1, 2)


@pytest.mark.parametrize(
    ("available", "size"),
    [
        ((), 16),
        (("neon", "fp-armv8"), 16),
        (("avx2",), 16),
        (("fma",), 16),
        (("avx2", "fma"), 32),
        (("avx2", "fma", "avx512f"), 32),
        (("avx2", "fma", "avx512vl", "avx512dq"), 32),
        (("avx2", "fma", "avx512f", "avx512dq"), 32),
        (("avx2", "fma", "avx512f", "avx512vl"), 32),
        (("avx512f", "avx512vl"), 16),
        (("avx2", "fma", "avx512f", "avx512vl", "avx512dq"), 64),
    ],
)
def test_vectors_are_as_large_as_all_their_instructions_allow(available: tuple[str, ...], size: int) -> None:
    known = ("avx2", "fma", "avx512f", "avx512vl", "avx512dq")
    assert machine.vector_bytes({feature: feature in available for feature in (*known, *available)}) == size
    assert machine.vector_bytes(dict.fromkeys(available, True)) == size


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A processor of a kind that LLVM names, in place of this machine's."""
    monkeypatch.delenv("FUNCTIONAL_MLP_TARGET", raising=False)
    monkeypatch.setattr(binding, "get_default_triple", lambda: LINUX.triple)
    monkeypatch.setattr(binding, "get_host_cpu_name", lambda: "neoverse-n1")
    monkeypatch.setattr(binding, "get_host_cpu_features", lambda: binding.FeatureMap(neon=True, sve=False))
    machine._target.cache_clear()
    yield
    machine._target.cache_clear()


@pytest.mark.usefixtures("processor")
def test_an_aarch64_machine_has_its_own_name_features_and_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.host() == machine.Target(LINUX.triple, "neoverse-n1", "+neon,-sve", 16)
    monkeypatch.setattr(binding, "get_host_cpu_features", binding.FeatureMap)  # as on systems that do not tell
    machine._target.cache_clear()
    assert machine.host() == attrs.evolve(machine.host(), features="")
    monkeypatch.setenv("FUNCTIONAL_MLP_TARGET", "x86-64")
    with pytest.raises(ValueError, match="FUNCTIONAL_MLP_TARGET=x86-64 does not run on this processor"):
        machine.host()
