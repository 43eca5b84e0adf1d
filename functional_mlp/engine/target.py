"""Machine code: for which processor it is made, how it is made and loaded, and where it is kept.

Two environment variables choose:

- `FUNCTIONAL_MLP_TARGET`: `native` (the default), or a processor that LLVM knows, such as `x86-64` (any 64-bit
  x86) or `x86-64-v3` (AVX2); code for a processor with other instructions than the machine's cannot run.
- `FUNCTIONAL_MLP_CACHE`: the folder for compiled code, by default the user's cache folder; `off` keeps none.
"""

import contextlib
import functools
import hashlib
import os
import platform
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import attrs
import llvmlite
import platformdirs
from llvmlite import binding, ir

DIGEST_SIZE = 32
_lock = threading.Lock()


@attrs.frozen
class Target:
    """A processor: its LLVM name and features, and the size of its vectors."""

    cpu: str
    features: str
    vector_bytes: int

    def lanes(self, number_bytes: int) -> int:
        return self.vector_bytes // number_bytes

    def machine(self) -> binding.TargetMachine:
        target = binding.Target.from_default_triple()
        return target.create_target_machine(
            cpu=self.cpu, features=self.features, opt=1, jit=True, codemodel="jitdefault"
        )


def host() -> Target:
    """The target that the environment asks for."""
    return _target(os.environ.get("FUNCTIONAL_MLP_TARGET", "native"))


@functools.cache
def _target(name: str) -> Target:
    _initialize()
    available = binding.get_host_cpu_features()
    if name == "native":
        if available.get("avx512f") and available.get("avx512vl") and available.get("avx512dq"):
            size = 64
        else:
            size = 32 if available.get("avx2") and available.get("fma") else 16
        return Target(binding.get_host_cpu_name(), available.flatten(), size)
    sizes = {"x86-64": 16, "x86-64-v2": 16, "x86-64-v3": 32, "x86-64-v4": 64}
    if name not in sizes:
        raise ValueError(f"FUNCTIONAL_MLP_TARGET must be 'native' or one of {', '.join(sizes)}, got {name!r}")
    needed = {"x86-64-v3": ("avx2", "fma"), "x86-64-v4": ("avx512f", "avx512vl", "avx512dq")}.get(name, ())
    missing = [feature for feature in needed if not available.get(feature)]
    if missing or platform.machine() not in ("x86_64", "AMD64"):
        raise ValueError(f"FUNCTIONAL_MLP_TARGET={name} does not run on this processor: choose 'native'")
    return Target(name, "", sizes[name])


@functools.cache
def _initialize() -> None:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()


class MachineCode:
    """Loaded code; it stays in memory as long as this object lives."""

    def __init__(self, code: bytes, target: Target) -> None:
        with _lock:
            self._engine = binding.create_mcjit_compiler(binding.parse_assembly(""), target.machine())
            self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
            self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Where the function or the constant of a name lies."""
        address: int = self._engine.get_global_value_address(name)
        return address


def load(key: str | None, emit: Callable[[], ir.Module], target: Target) -> MachineCode:
    """The code of the module that `emit` makes, from the cache on disk where it is there.

    `key` stands for the module where it is known without making it; otherwise the module's text is the key.
    """
    folder = cache_folder()
    text = None
    if key is None:
        key = text = str(emit())
    path = None if folder is None else folder / f"{_digest(key, target)}.o"
    code = None if path is None else _read(path)
    if code is None:
        code = assemble(text or str(emit()), target)
        if path is not None:
            _write(path, code)
    return MachineCode(code, target)


def assemble(text: str, target: Target) -> bytes:
    """LLVM assembly to object code. The code is vectors already, so no optimization passes are run over it."""
    _initialize()
    module = binding.parse_assembly(text)
    module.verify()
    with _lock:
        code: bytes = target.machine().emit_object(module)
    return code


def cache_folder() -> Path | None:
    """Where compiled code is kept, `None` where none is."""
    choice = os.environ.get("FUNCTIONAL_MLP_CACHE")
    if choice == "off":
        return None
    return Path(choice) if choice else Path(platformdirs.user_cache_dir("functional_mlp")) / "engine"


def clear_cache() -> None:
    """Delete the compiled code that is kept on disk; code in use stays usable."""
    folder = cache_folder()
    if folder is not None and folder.is_dir():
        for path in folder.glob("*.o"):
            path.unlink(missing_ok=True)


def _digest(key: str, target: Target) -> str:
    parts = (key, target.cpu, target.features, str(target.vector_bytes), llvmlite.__version__, _source_digest())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


@functools.cache
def _source_digest() -> str:
    """A digest of the library's own source: code of another version is never loaded."""
    package = Path(__file__).parent.parent
    sources = [*package.glob("*.py"), *package.glob("layers/*.py"), *package.glob("engine/*.py")]
    digest = hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _read(path: Path) -> bytes | None:
    """Code from the cache, `None` where there is none or it is damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, code = content[:DIGEST_SIZE], content[DIGEST_SIZE:]
    return code if hashlib.sha256(code).digest() == digest else None


def _write(path: Path, code: bytes) -> None:
    """Put code into the cache in one step, so that no reader sees half of it; a cache that cannot be is no error."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
