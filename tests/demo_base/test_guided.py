import torch

from demo_base.recipe.guided import GuidedDualAR, attention_miss
from fishdvc.model.config import read_config
from fishdvc.model.layers import Attention, rotary_table
from tests.demo_base.test_checkpoint import CHECKPOINT


def model(noise: float = 0.0) -> GuidedDualAR:
    torch.manual_seed(0)
    built = GuidedDualAR(
        read_config(CHECKPOINT / "config.json"),
        semantic_begin_id=312,
        guided_layers=(1, 2),
    )
    built.noise = noise
    return built


def inputs() -> torch.Tensor:
    batch = torch.zeros(2, 9, 12, dtype=torch.int64)
    batch[:, 0, :6] = torch.arange(6)
    codes = torch.randint(1, 1000, (2, 8, 6), generator=torch.Generator().manual_seed(1))
    batch[:, 1:, 6:] = codes
    batch[:, 0, 6:] = 312 + codes[:, 0]
    return batch


def test_without_noise_the_hidden_states_are_those_of_dual_ar() -> None:
    guided = model()
    torch.manual_seed(0)
    plain = super(GuidedDualAR, guided)
    torch.testing.assert_close(guided.hidden_states(inputs()), plain.hidden_states(inputs()))


def test_noise_replaces_frames_by_frames_and_leaves_text() -> None:
    seen = []
    guided = model(noise=1.0)
    guided.embeddings.register_forward_hook(lambda _, args, __: seen.append(args[0]))
    given = inputs()
    guided.hidden_states(given)
    torch.testing.assert_close(given, inputs())
    (ids,) = seen
    torch.testing.assert_close(ids[:, :6], inputs()[:, 0, :6])
    frames = set(inputs()[:, 0, 6:].flatten().tolist())
    assert set(ids[:, 6:].flatten().tolist()) < frames


def test_the_miss_equals_the_attention_that_the_model_computes() -> None:
    """Compare with the output of the attention, with values that are 1 at position 1 only."""
    torch.manual_seed(0)
    attention = Attention(8, 2, 1, qkv_bias=False)
    x, rotary = torch.randn(1, 4, 8), torch.view_as_complex(rotary_table(4, 4, 1e4))
    torch.nn.init.eye_(attention.wo.weight)
    log_weights = torch.full((1, 4, 4), -torch.inf)
    log_weights[0, 2, 1] = -0.5
    values = torch.zeros(4)
    values[1] = 1.0

    def with_values(_: torch.nn.Module, __: object, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[..., -4:] = values[:, None]
        return output

    attention.wqkv.register_forward_hook(with_values)
    attended = attention(x, torch.zeros_like(x), rotary)[0, 2, 0]
    miss = attention_miss(attention, x, rotary, None, log_weights)
    torch.testing.assert_close(miss, -(attended.log() - 0.5))


def test_training_on_the_miss_moves_the_attention_of_the_guided_layers() -> None:
    guided = model()
    guided.log_weights = torch.full((2, 12, 12), -torch.inf)
    guided.log_weights[:, 6:, 3] = 0.0
    optimizer = torch.optim.AdamW(guided.parameters(), 1e-2)
    misses = []
    for _ in range(20):
        guided.hidden_states(inputs())
        misses.append(torch.stack(guided.misses))
        optimizer.zero_grad()
        misses[-1].mean().backward()
        optimizer.step()
    assert misses[0].shape == (2,)
    assert (misses[-1] < misses[0] / 3).all()
