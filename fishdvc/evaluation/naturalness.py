"""Naturalness, predicted by models that were trained on people's ratings."""

import contextlib
import io
from collections.abc import Iterator
from importlib.metadata import distribution, version

import numpy as np
import onnxruntime
import torch
from distillmos import ConvTransformerSQAModel

from fishdvc.evaluation.results import Measures, Metric, Utterance
from fishdvc.evaluation.samples import SAMPLE_RATE_HZ, Samples, for_models
from fishdvc.storage.cache import combined_key

DNSMOS_MODEL = "speechmos/dnsmos_models/sig_bak_ovr.onnx"
DNSMOS_NUM_SAMPLES = int(9.01 * SAMPLE_RATE_HZ)
"""Length of the speech that DNSMOS rates at once."""
DNSMOS_SCALE = (-0.06766283, 1.11546468, 0.04602535)
"""Polynomial that maps the model's output to the overall rating, from ``speechmos.dnsmos``."""


class NaturalnessJudge:
    """Predicts mean opinion scores with DistillMOS and DNSMOS."""

    metrics: tuple[Metric, ...] = (
        Metric(
            name="distillmos",
            title="DistillMOS",
            better="higher",
            meaning="Quality that people would hear, from 1 (bad) to 5 (excellent).",
        ),
        Metric(
            name="dnsmos",
            title="DNSMOS",
            better="higher",
            meaning="Quality that people would hear in telephony, from 1 to 5; sees noise.",
        ),
    )

    def __init__(self) -> None:
        """Load the models. Their weights are in the packages."""
        # It prints the path of its weights.
        with contextlib.redirect_stdout(io.StringIO()):
            self._distillmos = ConvTransformerSQAModel().eval()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._dnsmos = onnxruntime.InferenceSession(
            str(distribution("speechmos").locate_file(DNSMOS_MODEL)), options
        )
        packages = ("distillmos", "speechmos", "onnxruntime", "torch")
        self.key = combined_key("naturalness 1", [version(name) for name in packages])

    @torch.inference_mode()
    def measure(self, utterance: Utterance) -> Measures:
        """Predict the ratings of an utterance."""
        samples = for_models(utterance)
        return Measures(
            values={
                "distillmos": float(self._distillmos(torch.from_numpy(samples)[None])),
                "dnsmos": self._rate_with_dnsmos(samples),
            }
        )

    def _rate_with_dnsmos(self, samples: Samples) -> float:
        """Average the overall rating over parts of 9 s.

        ``speechmos.dnsmos.run`` gives nearly the same, but rates a part for each second, and other
        ratings, in ten times the time.
        """
        outputs = [
            self._dnsmos.run(None, {"input_1": part[None]})[0][0, 2] for part in _parts(samples)
        ]
        return float(np.mean(np.polyval(DNSMOS_SCALE, outputs)))


def _parts(samples: Samples) -> Iterator[Samples]:
    """Cut into parts of 9 s. Shorter speech is repeated; the last part ends with the speech."""
    if len(samples) <= DNSMOS_NUM_SAMPLES:
        yield np.resize(samples, DNSMOS_NUM_SAMPLES)
        return
    num_parts = -(-len(samples) // DNSMOS_NUM_SAMPLES)
    for start in np.linspace(0, len(samples) - DNSMOS_NUM_SAMPLES, num_parts).astype(int):
        yield samples[start : start + DNSMOS_NUM_SAMPLES]
