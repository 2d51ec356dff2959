"""Check that a recognizer understands the demo's merged model.

This check needs the packages of the tests. inspect_run.py needs only those of the demo.
"""

from pathlib import Path
from statistics import mean

from fishdvc.evaluation.recognition import Recognizer, error_rates
from fishdvc.generation.loading import load_synthesizer
from fishdvc.generation.settings import Sampling
from fishdvc.params import read_params
from fishdvc.pipeline.evaluate import EvaluateParams

# Prompts of the demo's voice that are not in the demo's data.
TEXTS = (
    "Please enter your phone number, starting with the area code.",
    "I'm sorry, that number is not valid.",
    "Please enter the conference pin number.",
    "After the tone say your unavailable message and then press the pound key.",
    "You are entering conference number.",
    "That pin is invalid for this conference.",
    "That option is invalid. Please try again.",
    "At the tone, please say your name.",
)
NUM_REPETITIONS = 3

merged = Path("data/merged")
params = read_params(Path("params.yaml"), "evaluate", EvaluateParams)
synthesizer = load_synthesizer(merged, next(merged.glob("*generator.pth")), None, "cpu")
texts = TEXTS * NUM_REPETITIONS
spoken = synthesizer.speak(
    [(text, []) for text in texts],
    seeds=range(len(texts)),
    sampling=Sampling(
        temperature=params.temperature,
        top_p=params.top_p,
        repetition_penalty=params.repetition_penalty,
    ),
    max_part_s=10.0,
)
recognizer = Recognizer(None)
rates = []
for text, utterance in zip(texts, spoken, strict=True):
    heard, language = recognizer.transcribe(utterance.samples.numpy())
    print(f"{text} | {heard}")
    rates.append(error_rates(text, heard, language)["cer"])
print(f"character error rate of the merged model: {mean(rates):.3f}")
# Measured: 0.06.
assert mean(rates) < 0.2
