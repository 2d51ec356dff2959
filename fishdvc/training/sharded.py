"""Several processes that each hold a part of the frozen base, and all of the adapters.

FSDP's second design, ``fully_shard``, on what is large and used in one way on every process: the
frozen weights of the slow transformer's blocks, gathered block by block as each is run. The rest
stays whole. The heads and the fast transformer run in chunks, as many as a process has frames, and
a process that gathers more often than the others would wait for them for ever. The adapters are
small, and float32 beside a base that may be bfloat16; their gradients are averaged by DDP, and
saving, resuming and clipping need to know nothing of all this.
"""

from collections.abc import Iterable
from typing import cast

from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from fishdvc.training.module import AdapterTraining


class ShardedBaseStrategy(DDPStrategy):
    """DDP for what is trained, with the frozen weights of blocks shared out among processes."""

    def model_to_device(self) -> None:
        """Shard, block by block, so that no device holds all of them; then move the rest."""
        module = cast(AdapterTraining, self.lightning_module)
        mesh = init_device_mesh(self.root_device.type, (self.world_size,))
        shard_frozen(module.blocks_run_once(), mesh)
        # Of DDP, to which a part of a weight on each process would be as many wrong copies.
        module._ddp_params_and_buffers_to_ignore = [  # type: ignore[assignment]
            name for name, parameter in module.named_parameters() if isinstance(parameter, DTensor)
        ]
        super().model_to_device()


def shard_frozen(blocks: Iterable[nn.Module], mesh: DeviceMesh) -> None:
    """Share the frozen parameters of blocks out; those that are trained stay as they are.

    Args:
        blocks: Modules that every process runs equally often, in the same order; what is sharded
            already stays so.
        mesh: The processes.
    """
    for block in blocks:
        if not isinstance(block, FSDPModule):
            trained = {parameter for parameter in block.parameters() if parameter.requires_grad}
            fully_shard(block, mesh=mesh, reshard_after_forward=True, ignored_params=trained)
