"""Files that write control characters into what is said of them."""

import pytest

import functional_mlp as fm
from functional_mlp.checkpoint import container
from functional_mlp.escaping import printable

NETWORK = fm.Linear(2, 1)


@pytest.mark.parametrize("change", [{"format": "\x1b[31mX"}, {"\x1b[31mX": 1}], ids=["format", "field"])
def test_an_error_of_a_file_steers_no_terminal(tmp_path, change):
    path = tmp_path / "model.safetensors"
    fm.save(path, NETWORK.init(fm.random.key(0)), network=NETWORK, optimizer=fm.SGD(0.1))
    tensors, document = container.unpack(path)
    path.write_bytes(container.pack(tensors, {**document, **change}))
    with pytest.raises(fm.CheckpointError) as caught:
        fm.load(path)
    assert "\x1b" not in str(caught.value)
    assert r"\x1b[31mX" in str(caught.value)


HIDDEN = "\u00ad\u034f\u115f\u180e\u200b\u200d\u2028\u2029\u2060\u3164\ufe0f\ufeff\U000e0041\U000e0101"


@pytest.mark.parametrize("hidden", list(HIDDEN), ids=ascii)
def test_what_cannot_be_seen_is_shown(hidden: str) -> None:
    assert printable(f"a{hidden}b") == f"a{hidden.encode('unicode_escape').decode()}b"
