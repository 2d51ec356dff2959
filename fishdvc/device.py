"""Choose the PyTorch device."""

import torch

from fishdvc.errors import ParamsError


def choose_device(name: str) -> torch.device:
    """Return the device ``cuda``, ``mps`` or ``cpu``. For ``auto``, a GPU is preferred to the CPU.

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
    return torch.device(name)
