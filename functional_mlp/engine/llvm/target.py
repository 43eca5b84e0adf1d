"""Machine code: for which processor it is made, and how it is made and loaded.

`FUNCTIONAL_MLP_TARGET` chooses the processor: `native` (the default), or one that LLVM knows, such as `x86-64` (any
64-bit x86) or `x86-64-v3` (AVX2); code for a processor with other instructions than the machine's cannot run.
"""

import functools
import hashlib
import os
import secrets
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import llvmlite
from llvmlite import binding

import functional_mlp
from functional_mlp import forks
from functional_mlp.engine import cache
from functional_mlp.engine.llvm import ir

# Held by whoever uses LLVM, whose own lock a forked child would find taken.
_llvm = forks.lock()

# The bytes that go from memory to a cache, and from one core's cache to another's, at once: the line of x86-64 and of
# most processors of ARM. Where lines are longer, as Apple's of 128 bytes, results are the same.
LINE_BYTES = 64


@attrs.frozen
class Target:
    """A processor: its system as LLVM's triple, its LLVM name and features, and the size of its vectors."""

    triple: str
    cpu: str
    features: str
    vector_bytes: int

    @property
    def architecture(self) -> str:
        """LLVM's name of the kind of processor: x86_64, aarch64, arm64 on macOS, …"""
        return self.triple.partition("-")[0]

    def lanes(self, number_bytes: int) -> int:
        return self.vector_bytes // number_bytes

    def machine(self) -> Any:
        target = binding.Target.from_triple(self.triple)
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=1, jit=True, codemodel="jitdefault"
        )


def host() -> Target:
    """The target that the environment asks for."""
    return _target(os.environ.get("FUNCTIONAL_MLP_TARGET", "native"))


@functools.cache
def _target(name: str) -> Target:
    _initialize()
    with _llvm:
        triple, cpu, available = (
            binding.get_default_triple(),
            binding.get_host_cpu_name(),
            binding.get_host_cpu_features(),  # none where LLVM knows them by the name alone
        )
    if name == "native":
        return Target(triple, cpu, available.flatten(), vector_bytes(available))
    sizes = {"x86-64": 16, "x86-64-v2": 16, "x86-64-v3": 32, "x86-64-v4": 64}
    if name not in sizes:
        raise ValueError(f"FUNCTIONAL_MLP_TARGET must be 'native' or one of {', '.join(sizes)}, got {name!r}")
    needed = {"x86-64-v3": ("avx2", "fma"), "x86-64-v4": ("avx512f", "avx512vl", "avx512dq")}.get(name, ())
    missing = [feature for feature in needed if not available.get(feature)]
    if missing or not triple.startswith("x86_64-"):
        raise ValueError(f"FUNCTIONAL_MLP_TARGET={name} does not run on this processor: choose 'native'")
    return Target(triple, name, "", sizes[name])


def vector_bytes(available: Mapping[str, bool]) -> int:
    """The size of the vectors of a processor that has such features, by LLVM's names.

    Those of AVX-512 and AVX2 are used where all instructions are there that the engine's code becomes. Any 64-bit
    processor has vectors of 16 bytes: SSE2 on x86, NEON on aarch64.

    >>> vector_bytes({"avx2": True, "fma": True, "avx512f": False}), vector_bytes({"neon": True})
    (32, 16)
    """
    for size, needed in ((64, ("avx512f", "avx512vl", "avx512dq")), (32, ("avx2", "fma"))):
        if all(available.get(feature, False) for feature in needed):
            return size
    return 16


@functools.cache
def _initialize() -> None:
    with _llvm:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()


class MachineCode:
    """Loaded code; it stays in memory as long as this object lives.

    Raises `OSError` where the system forbids memory that is written first and executed then.
    """

    def __init__(self, code: bytes, target: Target) -> None:
        with _llvm:
            binding.check_jit_execution()  # LLVM itself does not look, and calls of the code end the process
            self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target.machine())
            self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
            self._engine.finalize_object()
        weakref.finalize(self, _close, self._engine).atexit = False

    def address(self, name: str) -> int:
        """Where the function or the constant of a name lies."""
        with _llvm:
            address: int = self._engine.get_global_value_address(name)
        if address == 0:
            raise RuntimeError(f"the loaded code has no {name!r}")
        return address


def _close(engine: Any) -> None:
    with _llvm:
        engine.close()


def load(key: str | None, emit: Callable[[], ir.Module], target: Target) -> MachineCode:
    """The code of the module that `emit` makes, from the cache on disk where it is there.

    `key` stands for the module where it is known without making it; otherwise the module's text is the key.
    """
    text = None
    if key is None:
        key = text = str(emit())
    digest = _digest(key, target)
    code = cache.read(digest)
    if code is None:
        with _llvm:  # which one thread uses at a time: what several ask for at once, the others find made
            code = cache.read(digest)
            if code is None:
                code = assemble(text or str(emit()), target)
                cache.write(digest, code)
    return MachineCode(code, target)


def assemble(text: str, target: Target) -> bytes:
    """LLVM assembly to object code. The code is vectors already, so no optimization passes are run over it."""
    _initialize()
    with _llvm, binding.parse_assembly(text) as module, target.machine() as machine:
        module.verify()
        code: bytes = machine.emit_object(module)
    return code


def instructions(text: str, target: Target) -> str:
    """LLVM assembly to that of the processor, for reading."""
    _initialize()
    with _llvm, binding.parse_assembly(text) as module, target.machine() as machine:
        return str(machine.emit_assembly(module))


def _digest(key: str, target: Target) -> str:
    parts = (
        key,
        target.triple,
        target.cpu,
        target.features,
        str(target.vector_bytes),
        llvmlite.__version__,
        _source_digest(),
    )
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@functools.cache
def _source_digest() -> str:
    """The digest of the library that runs: code that another version has made is never loaded."""
    return digest_of_sources(Path(functional_mlp.__file__).parent)


def digest_of_sources(package: Path) -> str:
    """A digest of all Python files of a package, in whatever folders they lie.

    Those that cannot influence the code are few, and it is not worth an error to tell them apart. A package without
    such files (in an archive, say) has another digest in each process.
    """
    sources = sorted(package.rglob("*.py"))
    digest = hashlib.sha256(b"" if sources else secrets.token_bytes())
    for source in sources:
        content = source.read_bytes()
        digest.update(f"{source.relative_to(package).as_posix()}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()
