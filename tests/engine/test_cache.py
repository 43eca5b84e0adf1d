"""The cache of machine code runs nothing but what this user's library has put there."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import functional_mlp as fm
from functional_mlp.engine import cache as disk
from functional_mlp.engine.cache import Limits
from functional_mlp.engine.functions import compiled
from tests.helpers import assert_close

KEY = "0123456789abcdef" * 4
OTHER = "f" * 64
CODE = b"machine code" * 100

needs_owners = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no owners of files")
needs_root = pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files to another user"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, that is not there yet."""
    fm.engine.explain(fm.Linear(2, 2), fm.MeanSquaredError(), fm.SGD(0.1))  # makes the engine's first code elsewhere
    monkeypatch.setenv("FUNCTIONAL_MLP_CACHE", str(tmp_path / "above" / "cache"))
    disk._warn.cache_clear()
    compiled.cache_clear()
    yield tmp_path / "above" / "cache"
    compiled.cache_clear()


@pytest.fixture
def entry(folder: Path) -> Path:
    """The file of an entry that is there."""
    disk.write(KEY, CODE)
    return folder / f"{KEY}.o"


def train(learning_rate: float = 0.1, engine: str = "fused") -> fm.TrainState:
    network = fm.Sequential(fm.Linear(2, 3), fm.Tanh(), fm.Linear(3, 2))
    data, key = fm.datasets.disk(fm.random.key(0), 20), fm.random.key(1)
    return fm.fit(network, fm.MeanSquaredError(), fm.SGD(learning_rate), data, key=key, epochs=2, engine=engine).state


def test_another_learning_rate_takes_the_same_code(folder: Path) -> None:
    first = train(0.1)
    made = sorted(os.listdir(folder)), compiled.cache_info().misses
    second = train(0.5)
    assert (sorted(os.listdir(folder)), compiled.cache_info().misses) == made
    assert not fm.pytree.equal(first, second)
    assert_close(second.optimizer_state.params, train(0.5, "reference").optimizer_state.params, tolerance=1e-5)


def test_what_is_written_is_read_again(entry: Path) -> None:
    assert disk.read(KEY) == CODE
    assert disk.read(OTHER) is None
    assert os.listdir(entry.parent) == [entry.name]


@needs_owners
@pytest.mark.parametrize("mask", [0, 0o022, 0o777])
def test_folders_and_files_are_the_users_alone_whatever_the_umask(folder: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        disk.write(KEY, CODE)
    finally:
        os.umask(before)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder)]
    assert modes == [0o700, 0o700]
    assert stat.S_IMODE((folder / f"{KEY}.o").stat().st_mode) & 0o177 == 0


def give_away(path: Path) -> None:
    os.chown(path, 12345, -1)


UNTRUSTED = [
    pytest.param(lambda path: path.chmod(0o770), "can be written by other users", id="group"),
    pytest.param(lambda path: path.chmod(0o702), "can be written by other users", id="others"),
    pytest.param(give_away, "belongs to another user", id="owner", marks=needs_root),
]


@needs_owners
@pytest.mark.parametrize(("spoil", "reason"), UNTRUSTED)
def test_a_folder_that_others_can_write_is_refused_once(entry: Path, spoil: Callable, reason: str) -> None:
    spoil(entry.parent)
    with pytest.warns(RuntimeWarning, match=rf"cache, which {reason}.*name another folder in FUNCTIONAL_MLP_CACHE"):
        assert disk.read(KEY) is None
    disk.write(OTHER, CODE)
    assert disk.read(KEY) is None
    fm.engine.clear_cache()
    assert os.listdir(entry.parent) == [entry.name]


@needs_owners
@pytest.mark.parametrize(("spoil", "reason"), UNTRUSTED)
def test_a_file_that_others_can_write_is_refused_and_made_anew(entry: Path, spoil: Callable, reason: str) -> None:
    spoil(entry)
    with pytest.warns(RuntimeWarning, match=rf"{KEY}.o, which {reason}"):
        assert disk.read(KEY) is None
    assert disk.read(KEY) is None
    disk.write(KEY, CODE)
    assert disk.read(KEY) == CODE


@needs_owners
def test_training_goes_on_without_a_cache(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="can be written by other users"):
        first = train()
    compiled.cache_clear()
    assert fm.pytree.equal(train(), first)
    assert os.listdir(folder) == []


def link(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def other_key(path: Path) -> None:
    disk.write(OTHER, CODE)
    (path.parent / f"{OTHER}.o").replace(path)


def huge(path: Path) -> None:
    os.truncate(path, 1 << 33)  # a hole, which takes no room


def folder_in_its_place(path: Path) -> None:
    path.unlink()
    path.mkdir()


def rewritten(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes()))


STRANGE = {
    "empty": rewritten(lambda content: b""),
    "short": rewritten(lambda content: content[:-1]),
    "long": rewritten(lambda content: content + b"0"),
    "magic": rewritten(lambda content: b"F" + content[1:]),
    "code": rewritten(lambda content: content[:-1] + b"?"),
    "unsigned": rewritten(lambda content: hashlib.sha256(CODE).digest() + CODE),
    "huge": huge,
    "other key": other_key,
    "folder": folder_in_its_place,
}
if os.name != "nt":
    STRANGE |= {"link": link, "pipe": pipe, "device": device}


@pytest.mark.parametrize("name", STRANGE)
def test_whatever_else_lies_under_an_entrys_name_is_as_if_it_were_not_there(entry: Path, name: str) -> None:
    STRANGE[name](entry)
    assert disk.read(KEY) is None
    disk.write(KEY, CODE)
    assert disk.read(KEY) == (None if name == "folder" else CODE)
    assert [path.name for path in entry.parent.iterdir() if path.suffix == ".tmp"] == []


def test_an_entry_that_is_too_large_is_not_kept(folder: Path) -> None:
    disk.write(KEY, CODE, Limits(entry=1000))
    assert not folder.exists()


def test_an_entry_that_is_too_large_is_not_read(entry: Path) -> None:
    size = entry.stat().st_size
    assert disk.read(KEY, Limits(entry=size - 1)) is None
    assert disk.read(KEY, Limits(entry=size)) == CODE


def test_training_makes_damaged_code_anew(folder: Path) -> None:
    first = train()
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    for damaged in (b"", whole[:-1], whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
        file.write_bytes(damaged)
        compiled.cache_clear()
        assert fm.pytree.equal(train(), first)
        assert file.read_bytes() == whole


def test_what_was_not_used_for_longest_is_dropped(folder: Path) -> None:
    of_three = Limits(cache=3 * (len(disk.MAGIC) + disk.DIGEST_SIZE + len(CODE)))
    keys = [letter * 64 for letter in "abcd"]
    for age, key in enumerate(keys[:3]):
        disk.write(key, CODE, of_three)
        os.utime(folder / f"{key}.o", (1000 + age, 1000 + age))
    stranger = folder / "stranger.o"
    stranger.write_bytes(CODE * 100)
    assert disk.read(keys[0]) == CODE  # now the latest
    disk.write(keys[3], CODE, of_three)
    assert [disk.read(key) for key in keys] == [CODE, None, CODE, CODE]
    assert stranger.exists()


def test_the_entry_just_written_stays_where_nothing_fits(folder: Path) -> None:
    for key in (OTHER, KEY):
        disk.write(key, CODE, Limits(cache=10))
        assert os.listdir(folder) == [f"{key}.o"]


def test_clearing_deletes_only_what_the_library_made(entry: Path) -> None:
    folder = entry.parent
    left_over = folder / ".functional_mlp-0123456789abcdef.tmp"
    left_over.write_bytes(disk.MAGIC[:5])  # of a process that was killed
    strangers = {
        "main.o": b"mine",
        f"{OTHER}.o": b"mine too",
        f"{'d' * 64}.o": b"",
        "notes.txt": disk.MAGIC,
        "x.tmp": b"",
    }
    for name, content in strangers.items():
        (folder / name).write_bytes(content)
    (folder / f"{'e' * 64}.o").mkdir()
    fm.engine.clear_cache()
    assert sorted(os.listdir(folder)) == sorted([*strangers, f"{'e' * 64}.o"])
    assert disk.read(KEY) is None


def test_the_cache_can_be_switched_off(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fm.engine.cache_folder() == entry.parent
    monkeypatch.setenv("FUNCTIONAL_MLP_CACHE", "off")
    assert fm.engine.cache_folder() is None
    assert disk.read(KEY) is None
    disk.write(OTHER, CODE)
    fm.engine.clear_cache()
    assert os.listdir(entry.parent) == [entry.name]


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FUNCTIONAL_MLP_CACHE", str(tmp_path / "file" / "cache"))
    disk.write(KEY, CODE)
    assert disk.read(KEY) is None
    fm.engine.clear_cache()


def test_writing_that_fails_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "replace", fail)
    disk.write(KEY, CODE)
    assert os.listdir(folder) == []


def test_a_system_without_owners_keeps_code_as_well(entry: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("geteuid", "O_NOFOLLOW", "O_NONBLOCK", "O_NOCTTY"):
        monkeypatch.delattr(os, name, raising=False)
    monkeypatch.setattr(os, "supports_fd", set())
    assert disk.read(KEY) == CODE
