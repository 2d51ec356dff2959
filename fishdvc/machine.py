"""Section ``machine`` of params.yaml: settings of how to compute."""

from typing import Annotated, Literal

from pydantic import Field

from fishdvc.validation import Checked


class MachineParams(Checked):
    """Section ``machine`` of params.yaml. No DVC stage tracks it, so a change reruns nothing."""

    accelerator: Literal["auto", "cpu", "cuda", "mps"] = Field(
        description="Where extract_vq and train_lora compute. auto: a GPU if there is one."
    )
    workers: int = Field(
        ge=0, description="Clips processed in parallel before training. 0: one per core."
    )
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        description="Number of devices to train on, per machine. auto: all."
    )
    num_nodes: int = Field(ge=1, description="Number of machines to train on.")
    process_group_backend: Literal["auto", "nccl", "gloo"] = Field(
        description="Backend of torch.distributed for training on several devices."
    )
    logger: Literal["csv", "tensorboard", "none"] = Field(
        description="Logger of training in addition to DVCLive."
    )
