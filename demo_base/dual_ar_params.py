"""What is chosen for the dual-AR model; two stages read it."""

from dataclasses import dataclass

from fishdvc.params import param


@dataclass(frozen=True, kw_only=True)
class DualARParams:
    """Section ``dual_ar`` of params.yaml."""

    seed: int = param("Of weights and batches.")
    voices: tuple[str, ...] = param("Voices that it learns to speak in.")
    human_share: float = param("Of the sequences, those of people.", at_least=0, at_most=1)
    num_steps: int = param("Steps of the optimizer.", at_least=1)
    batch_frames: int = param("Frames of codes in a batch.", at_least=1)
    learning_rate: float = param("Of AdamW.", above=0)
    warmup_steps: int = param("Over which the rate rises.", at_least=1)
    curriculum_steps: int = param("Over which longer and longer sentences come in.", at_least=1)
    history_noise: float = param(
        "Of the frames it reads, replaced by others at random; falls to 0 in the end.",
        at_least=0,
        at_most=1,
    )
    guided_layers: tuple[int, ...] = param("Whose first head is drawn along the text.")
    guidance: float = param("Weight of that in the loss; falls to 0 in the end.", at_least=0)
    guidance_spread: float = param("In tokens of text.", above=0)
    fast_share: float = param(
        "Of the frames, those that the fast transformer learns.", above=0, at_most=1
    )
