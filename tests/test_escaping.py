"""Files that write control characters into what is said of them."""

import pytest

import functional_mlp as fm
from functional_mlp.checkpoint import container

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
