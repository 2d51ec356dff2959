"""Naturalness, predicted by models that were trained on people's ratings."""

import contextlib
import io
from importlib.metadata import version

import torch
from distillmos import ConvTransformerSQAModel
from speechmos import dnsmos

from fishdvc.evaluation.results import Measures, Metric, Utterance
from fishdvc.evaluation.samples import SAMPLE_RATE_HZ, for_models
from fishdvc.storage.cache import combined_key


class NaturalnessJudge:
    """Predicts mean opinion scores with DistillMOS and DNSMOS."""

    metrics = (
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
        packages = ("distillmos", "speechmos", "onnxruntime", "librosa", "torch")
        self.key = combined_key("naturalness 1", [version(name) for name in packages])

    @torch.inference_mode()
    def measure(self, utterance: Utterance) -> Measures:
        """Predict the ratings of an utterance. Speech below 9 s is repeated for DNSMOS."""
        samples = for_models(utterance)
        return Measures(
            values={
                "distillmos": float(self._distillmos(torch.from_numpy(samples)[None])),
                "dnsmos": float(dnsmos.run(samples, SAMPLE_RATE_HZ)["ovrl_mos"]),
            }
        )
