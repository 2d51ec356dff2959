"""Similarity of voices, by an embedding that recognizes speakers."""

from collections.abc import Mapping, Sequence
from importlib.metadata import distribution, version

import numpy as np
import torch
import torchaudio.functional
from numpy.typing import NDArray
from torch import Tensor, nn

from fishdvc.evaluation.results import Measures, Metric, Utterance
from fishdvc.evaluation.samples import SAMPLE_RATE_HZ, Samples, for_models
from fishdvc.storage.cache import combined_key

WINDOW_MEL_FRAMES = 160
"""Window of the encoder, in mel frames of 10 ms."""
LEVEL_DBFS = -30.0
"""RMS of all speech, the level that resemblyzer raises speech to. The encoder reads mel energies
without a logarithm: 12 dB more change the embedding as much as another speaker does."""

METRICS = (
    Metric(
        name="similarity",
        title="Speaker similarity",
        better="higher",
        meaning="Cosine of the voice's embedding with the mean of the speaker's recordings.",
    ),
    Metric(
        name="similarity_percentile",
        title="Among own recordings",
        better="higher",
        meaning="Percentage of the speaker's own recordings that are less similar to the others.",
        digits=0,
    ),
    Metric(
        name="similarity_percentile_of_others",
        title="Among other speakers",
        better="higher",
        meaning="Percentage of other speakers' recordings that are less similar to this speaker.",
        digits=0,
    ),
)


class SpeakerEncoder(nn.Module):
    """The speaker encoder of resemblyzer, trained with the generalized end-to-end loss.

    Three LSTM layers over mel frames and a projection (Wan et al. 2018,
    https://arxiv.org/abs/1710.10467). Only the weights of the package are used. Names of layers are
    the checkpoint's.
    """

    def __init__(self) -> None:
        """Load the weights.

        Raises:
            ModuleNotFoundError: resemblyzer is not installed.
        """
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)
        path = str(distribution("resemblyzer").locate_file("resemblyzer/pretrained.pt"))
        saved = torch.load(path, weights_only=True, map_location="cpu")["model_state"]
        self.load_state_dict({k: v for k, v in saved.items() if not k.startswith("similarity_")})
        self._filters = torchaudio.functional.melscale_fbanks(
            201, 0.0, SAMPLE_RATE_HZ / 2, 40, SAMPLE_RATE_HZ, norm="slaney", mel_scale="slaney"
        )

    @torch.inference_mode()
    def forward(self, samples: Samples) -> Tensor:
        """Embed speech.

        Args:
            samples: float32 ``(samples,)`` at 16 kHz, at least 0.1 s. The level does not matter.

        Returns:
            The mean over windows of 1.6 s every 0.8 s, ``(256,)``, of length 1.
        """
        audio = torch.from_numpy(samples)
        rms = audio.square().mean().sqrt().clamp(min=1e-6)
        spectrum = torch.stft(
            audio * (10 ** (LEVEL_DBFS / 20) / rms),
            400,
            160,
            window=torch.hann_window(400),
            pad_mode="constant",
            return_complex=True,
        )
        mel = (spectrum.abs() ** 2).T @ self._filters
        num_windows = max(1, round(len(mel) / (WINDOW_MEL_FRAMES / 2)) - 1)
        missing = (num_windows + 1) * WINDOW_MEL_FRAMES // 2 - len(mel)
        mel = nn.functional.pad(mel, (0, 0, 0, max(0, missing)))
        windows = mel.unfold(0, WINDOW_MEL_FRAMES, WINDOW_MEL_FRAMES // 2).transpose(1, 2)
        _, (states, _) = self.lstm(windows)
        of_windows = nn.functional.normalize(torch.relu(self.linear(states[-1])), dim=1)
        embedding: Tensor = nn.functional.normalize(of_windows.mean(dim=0), dim=0)
        return embedding


class SimilarityJudge:
    """Measures how similar a voice is to the speaker's."""

    def __init__(self, speakers: Mapping[str, Sequence[Utterance]]) -> None:
        """Embed recordings of the speakers.

        Args:
            speakers: For each speaker, recordings of its voice, at least one. The percentile among
                them needs two.
        """
        self._encoder = SpeakerEncoder()
        embeddings = {
            name: np.stack([self._embed(recording) for recording in recordings])
            for name, recordings in speakers.items()
        }
        self.means = {name: _mean(rows) for name, rows in embeddings.items()}
        self._own = {name: _leave_one_out(rows) for name, rows in embeddings.items()}
        self._others = {
            name: np.concatenate(
                [np.zeros(0)] + [embeddings[other] @ mean for other in embeddings if other != name]
            )
            for name, mean in self.means.items()
        }
        self.metrics: tuple[Metric, ...] = METRICS if len(speakers) > 1 else METRICS[:2]
        versions = [version(name) for name in ("resemblyzer", "torch", "torchaudio")]
        self.key = combined_key(
            "similarity 1", versions, sorted((k, v.tolist()) for k, v in embeddings.items())
        )

    def measure(self, utterance: Utterance) -> Measures:
        """Compare an utterance with the recordings of its speaker and of the others."""
        similarity = float(self._embed(utterance) @ self.means[utterance.speaker])
        values = {"similarity": similarity}
        for name, group in (
            ("similarity_percentile", self._own[utterance.speaker]),
            ("similarity_percentile_of_others", self._others[utterance.speaker]),
        ):
            if len(group):
                values[name] = float(100 * (group < similarity).mean())
        return Measures(values=values)

    def _embed(self, utterance: Utterance) -> NDArray[np.float32]:
        embedding: NDArray[np.float32] = self._encoder(for_models(utterance)).numpy()
        return embedding


def _mean(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    total = embeddings.sum(axis=0)
    mean: NDArray[np.float32] = total / np.linalg.norm(total)
    return mean


def _leave_one_out(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compare each recording with the mean of the speaker's others. Empty for one recording."""
    if len(embeddings) == 1:
        return np.zeros(0, dtype=np.float32)
    rest = [np.delete(embeddings, i, axis=0) for i in range(len(embeddings))]
    return np.array([e @ _mean(others) for e, others in zip(embeddings, rest, strict=True)])
