"""Choose the PyTorch device and its number types."""

import torch

from fishdvc.errors import ParamsError


def choose_device(name: str) -> torch.device:
    """Return the device ``cuda``, ``mps`` or ``cpu``. For ``auto``, a GPU is preferred to the CPU.

    On CUDA, also configure PyTorch for this process, see ``configure_cuda``.

    Raises:
        ParamsError: PyTorch does not find the device on this machine.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(device for device, is_available in available.items() if is_available)
    if not available[name]:
        raise ParamsError(
            f"PyTorch does not find {name} on this machine; use auto or cpu in machine.accelerator "
            "of params.yaml, or in --device of fishdvc speak"
        )
    if name == "cuda":
        configure_cuda()
    return torch.device(name)


def configure_cuda() -> None:
    """Set PyTorch's backends for CUDA.

    Convolutions compute in float32 and not in TF32, so that codes are those of the CPU except at
    rounding boundaries. cuDNN's attention is off, because it builds a plan for each new shape.
    """
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.enable_cudnn_sdp(False)


def has_bfloat16(device: torch.device) -> bool:
    """Return whether the device computes in bfloat16 itself.

    PyTorch also reports bfloat16 for GPUs that emulate it slowly, such as the T4 and the V100.
    """
    return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
