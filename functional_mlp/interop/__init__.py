"""The ways to and from other libraries: networks as torch modules, and as ONNX models.

    module = interop.to_torch(network, params)        # a torch.nn.Module, to train by autograd, export or compile
    network, params = interop.from_torch(module)      # and back
    interop.to_onnx("model.onnx", network, params)    # a file for onnxruntime, needs the extra `onnx`

What is handed over is copied: neither side sees what the other does later.
"""

from functional_mlp.interop.export import to_onnx
from functional_mlp.interop.modules import from_torch, to_torch

__all__ = ["from_torch", "to_onnx", "to_torch"]
