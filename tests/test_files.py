"""A file is written whole or not at all."""

import builtins
import errno
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import functional_mlp as fm
from functional_mlp import files
from functional_mlp.files import check_writable, is_same_file, write_atomically

# The module by itself, without torch, starts at once.
WRITER = """
import importlib.util
import sys
from pathlib import Path
spec = importlib.util.spec_from_file_location("files", sys.argv[1])
files = importlib.util.module_from_spec(spec)
spec.loader.exec_module(files)
path, letter = Path(sys.argv[2]), sys.argv[3].encode()
for _ in range(50):
    files.write_atomically(path, letter * 300_000)
"""


def test_a_file_is_replaced(tmp_path: Path) -> None:
    for content in (b"old", b"", b"new" * 100_000):
        write_atomically(tmp_path / "a", content)
        assert (tmp_path / "a").read_bytes() == content
    assert os.listdir(tmp_path) == ["a"]


def test_a_path_without_a_folder_is_one_of_the_working_folder(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_atomically(Path("a" * 255), b"1")
    assert os.listdir(tmp_path) == ["a" * 255]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_the_mode_of_a_new_file_follows_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "a", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o666, 0o444])
def test_a_file_that_is_replaced_keeps_its_mode_from_the_first_byte_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int
) -> None:
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(mode)
    modes, fsync = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda at: (modes.append(stat.S_IMODE(os.fstat(at).st_mode)), fsync(at)))
    write_atomically(tmp_path / "a", b"1")
    assert modes[0] == stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
def test_only_regular_files_are_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "null").symlink_to("/dev/null")
    network = fm.Tanh()
    for name in ("pipe", "link", "null"):
        for write in (
            lambda path: write_atomically(path, b"1"),
            check_writable,
            lambda path: fm.save(path, (), network=network, optimizer=fm.SGD(0.1)),
        ):
            with pytest.raises(OSError, match="Is no regular file, and is not replaced by one") as caught:
                write(tmp_path / name)
            assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / "pipe").is_fifo()
    assert Path("/dev/null").is_char_device()
    assert sorted(os.listdir(tmp_path)) == ["link", "null", "pipe"]


@pytest.mark.parametrize("busy", [0, 1, 3, 4])
def test_a_file_that_windows_keeps_while_it_is_read_is_replaced_a_moment_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, busy: int
) -> None:
    """Windows by a fake: the first `busy` tries meet a reader."""
    tries, replace = [], os.replace

    def replace_unless_busy(*paths: Path) -> None:
        tries.append(paths)
        if len(tries) <= busy:
            raise PermissionError(errno.EACCES, "Access is denied")
        replace(*paths)

    monkeypatch.setattr(os, "replace", replace_unless_busy)
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").write_bytes(b"new")
    if busy <= 3:
        files._replace(tmp_path / "b", tmp_path / "a", pauses=(0.0, 0.0, 0.0))
    else:
        with pytest.raises(PermissionError):
            files._replace(tmp_path / "b", tmp_path / "a", pauses=(0.0, 0.0, 0.0))
    assert len(tries) == min(busy + 1, 4)
    assert (tmp_path / "a").read_bytes() == (b"new" if busy <= 3 else b"old")


def test_whether_a_path_can_be_written_is_told_without_writing(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    before = (tmp_path / "a").stat()
    check_writable(tmp_path / "a")
    check_writable(tmp_path / "new")
    assert (tmp_path / "a").stat() == before
    assert os.listdir(tmp_path) == ["a"]
    for name, error in (("none/a", FileNotFoundError), ("a/b", NotADirectoryError), (".", IsADirectoryError)):
        with pytest.raises(error) as caught:
            check_writable(tmp_path / name)
        assert caught.value.filename == str(tmp_path / name)


def test_paths_lead_to_one_file_through_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "link").symlink_to("a")
    os.link(tmp_path / "a", tmp_path / "hard")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to("new")
    for name in ("a", "link", "hard", "folder/a", "folder/link", "folder/../" + tmp_path.name + "/a"):
        assert is_same_file(tmp_path / "a", tmp_path / name), name
    assert is_same_file(tmp_path / "dangling", tmp_path / "folder" / "new")
    assert not is_same_file(tmp_path / "a", tmp_path / "new")


def test_a_symbolic_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "a")
    write_atomically(tmp_path / "link", b"1")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "a").read_bytes() == b"1"


class FullFile:
    """A file on a disk that is full as soon as one of its functions is called."""

    def __init__(self, file: Any, failing: str) -> None:
        self.file, self.failing = file, failing

    def __enter__(self) -> "FullFile":
        return self

    def __exit__(self, *error: object) -> None:
        self.file.close()

    def __getattr__(self, name: str) -> Any:
        return fail if name == self.failing else getattr(self.file, name)


def fail(*arguments: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(params=["open", "write", "flush", "fsync", "replace"])
def full_disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One step of writing fails after the other."""
    if request.param == "open":
        monkeypatch.setattr(files, "open", fail, raising=False)
    elif request.param in ("fsync", "replace"):
        monkeypatch.setattr(os, request.param, fail)
    else:
        opened = builtins.open
        monkeypatch.setattr(files, "open", lambda *args: FullFile(opened(*args), request.param), raising=False)
    return request.param


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path, full_disk: str) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, b"new")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["model.safetensors"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_ctrl_c_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: Any, step: str) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, step, interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_file_and_folder_are_put_on_the_disk_in_order(tmp_path: Path, monkeypatch: Any) -> None:
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda at: (calls.append(os.readlink(f"/proc/self/fd/{at}")), fsync(at)))
    monkeypatch.setattr(os, "replace", lambda a, b: (calls.append("replace"), replace(a, b)))
    write_atomically(tmp_path / "a", b"1")
    assert calls[0].startswith(f"{tmp_path}/.functional_mlp-")
    assert calls[1:] == ["replace", str(tmp_path)]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a file system needs root")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_small_disk_fills_up(small_disk: Path) -> None:
    path = small_disk / "a"
    write_atomically(path, b"1" * 30_000)
    with pytest.raises(OSError, match="No space left on device"):
        write_atomically(path, b"2" * 60_000)
    assert path.read_bytes() == b"1" * 30_000
    assert os.listdir(small_disk) == ["a"]
    network = fm.Linear(100, 100)
    with pytest.raises(OSError, match="No space left on device"):
        fm.save(path, network.init(fm.random.key(0)), network=network, optimizer=fm.SGD(0.1))
    assert path.read_bytes() == b"1" * 30_000


def test_what_cannot_be_written_is_an_os_error_that_names_the_path(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    for name, error in (("none/a", FileNotFoundError), ("folder", IsADirectoryError), ("file/a", NotADirectoryError)):
        with pytest.raises(error) as caught:
            write_atomically(tmp_path / name, b"1")
        assert caught.value.filename == str(tmp_path / name)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_threads_and_processes_that_write_one_path_leave_one_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    commands = [[sys.executable, "-c", WRITER, files.__file__, str(path), letter] for letter in "pq"]
    writers = [subprocess.Popen(command) for command in commands]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = path.read_bytes()
            assert len(content) == 300_000
            assert len(set(content)) == 1
            seen.add(content[:1])
    assert [writer.returncode for writer in writers] == [0, 0]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda letter: write_atomically(path, letter * 300_000), [b"r", b"s"] * 20))
    assert path.read_bytes()[:1] in (b"r", b"s")
    assert os.listdir(tmp_path) == ["a"]
    assert seen
