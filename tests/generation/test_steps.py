"""A step of generation runs few operations of fixed shapes, so that CUDA can replay it."""

from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from fishdvc.generation.batch import Batch
from fishdvc.generation.graphs import GraphedFunction
from fishdvc.generation.settings import Sampling
from fishdvc.model.config import DualARConfig
from fishdvc.model.dual_ar import DualAR

MAX_OPERATIONS = 1000
"""Operations per frame on a GPU, each of which launches at least one kernel. It was 1,837 with
caches that grow, before steps had fixed shapes."""
VIEWS = {
    *("alias", "as_strided", "detach", "diagonal", "expand", "permute", "reshape", "select"),
    *("slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unsqueeze"),
    *("view", "_unsafe_view", "view_as_complex", "view_as_real", "lift_fresh"),
    *("empty", "empty_like", "empty_strided", "new_empty"),
}
READ_BY_HOST = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}


class Operations(TorchDispatchMode):
    """Records the operations that compute something, with the shapes of their tensors."""

    def __init__(self) -> None:
        super().__init__()
        self.recorded: list[tuple[str, list[torch.Size]]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = function._schema.name.removeprefix("aten::")
        # RMSNorm is one kernel on CUDA, but not on the CPU.
        if name != "rms_norm":
            with self:
                result = function.decompose(*args, **(kwargs or {}))
            if result is not NotImplemented:
                return result
        if name not in VIEWS:
            shapes = [x.shape for x in args if isinstance(x, torch.Tensor)]
            self.recorded.append((name, shapes))
        return function(*args, **(kwargs or {}))


@pytest.fixture
def batch() -> Batch:
    """A batch on a random model of the published depth and a small width, in bfloat16."""
    sizes = {"dim": 32, "n_head": 4, "n_local_heads": 2, "intermediate_size": 64}
    config = DualARConfig(
        vocab_size=1100,
        max_seq_len=512,
        codebook_size=1024,
        num_codebooks=8,
        n_layer=24,
        n_fast_layer=4,
        **sizes,
        **{f"fast_{name}": size for name, size in sizes.items()},
    )
    torch.manual_seed(0)
    model = DualAR(config, semantic_begin_id=60).bfloat16().eval().requires_grad_(False)
    batch = Batch(model, 2, 64, 40, sampling=Sampling(), end_id=3, num_codes=1000)
    with torch.inference_mode():
        prompts = [torch.zeros(9, 5).long(), torch.zeros(9, 3).long()]
        batch.start([0, 1], prompts, torch.rand(2, 40, 8))
    return batch


def operations_of_a_step(batch: Batch) -> list[tuple[str, list[torch.Size]]]:
    with torch.inference_mode(), Operations() as operations:
        batch.step(2, 64)
    return operations.recorded


def test_a_step_runs_few_operations(batch: Batch) -> None:
    counts = Counter(name for name, _ in operations_of_a_step(batch))
    assert counts.total() <= MAX_OPERATIONS, counts
    assert counts["rms_norm"] == 2 * 24 + 7 * 2 * 4 + 1 + 7


def test_shapes_do_not_depend_on_the_position_and_the_host_reads_nothing(batch: Batch) -> None:
    first = operations_of_a_step(batch)
    for _ in range(20):
        assert operations_of_a_step(batch) == first
    assert not READ_BY_HOST & {name for name, _ in first}
    assert batch.cache.positions.tolist() == [26, 24]


def test_tensors_stay_at_their_addresses(batch: Batch) -> None:
    def addresses() -> list[int]:
        tensors = [x for owner in (batch, batch.cache) for x in vars(owner).values()]
        return [x.data_ptr() for x in tensors if isinstance(x, torch.Tensor)]

    first = addresses()
    assert len(first) == 8
    operations_of_a_step(batch)
    with torch.inference_mode():
        batch.copy_rows([1], [0])
        batch.clear_rows(1)
    assert addresses() == first


def test_the_first_call_runs_and_captures_and_later_calls_replay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mode, calls = "run", []

    @contextmanager
    def capture(graph: Any, pool: Any, stream: Any) -> Any:  # noqa: ARG001
        nonlocal mode
        mode = "capture"
        yield
        mode, graph.captured = "run", calls[-1][1]

    class Graph:
        captured: Any

        def replay(self) -> None:
            calls.append(("replay", self.captured))

    class Stream:
        def __init__(self, device: Any = None) -> None: ...

        def wait_stream(self, other: Any) -> None: ...

    @contextmanager
    def stream(_: Any) -> Any:
        yield

    for name, fake in (
        ("CUDAGraph", Graph),
        ("graph", capture),
        ("Stream", Stream),
        ("stream", stream),
        ("current_stream", Stream),
        ("graph_pool_handle", object),
    ):
        monkeypatch.setattr(torch.cuda, name, fake)
    function: Callable[[int, int], None] = lambda *key: calls.append((mode, key))  # noqa: E731
    graphed = GraphedFunction(function, torch.device("cuda"))
    for key in ((1, 64), (1, 64), (2, 64), (1, 64)):
        graphed(*key)
    assert calls == [
        ("run", (1, 64)),
        ("capture", (1, 64)),
        ("replay", (1, 64)),
        ("run", (2, 64)),
        ("capture", (2, 64)),
        ("replay", (1, 64)),
    ]
