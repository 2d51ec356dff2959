"""CUDA graphs: run a function of many small kernels without launching each of them."""

from collections.abc import Callable

import torch


def uses_cuda_graphs(device: torch.device) -> bool:
    """Return whether ``GraphedFunction`` uses CUDA graphs on a device."""
    return device.type == "cuda"


class GraphedFunction:
    """A function whose second and later calls with the same arguments replay a CUDA graph.

    A kernel takes a few microseconds and its launch takes longer, so launches limit a step of
    generation. On other devices than CUDA the function is called each time.

    Args:
        function: Reads and writes tensors at fixed addresses only, with shapes that depend on its
            arguments only. Nothing in it is read by the host.
        device: Device of the tensors.
    """

    def __init__(self, function: Callable[[int, int], None], device: torch.device) -> None:
        self._function = function
        self._graphs: dict[tuple[int, int], torch.cuda.CUDAGraph] = {}
        self._stream: torch.cuda.Stream | None = None
        if uses_cuda_graphs(device):
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
            # Graphs may share memory, because none leaves its results there.
            self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, first: int, second: int) -> None:
        """Call the function. The first call with some arguments also captures its graph."""
        arguments = (first, second)
        if self._stream is None:
            self._function(*arguments)
        elif arguments in self._graphs:
            self._graphs[arguments].replay()
        else:
            # Libraries allocate memory in their first call, which must not happen in a capture.
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                self._function(*arguments)
            torch.cuda.current_stream().wait_stream(self._stream)
            # A capture records the kernels without running them.
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream):
                self._function(*arguments)
            self._graphs[arguments] = graph
