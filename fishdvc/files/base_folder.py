"""What a folder with a base or merged model holds. Starts without torch."""

from pathlib import Path

MODEL_FILES = ("config.json", "model.pth", "tokenizer.tiktoken", "special_tokens.json")


def codec_config_beside(codec_checkpoint: Path) -> Path | None:
    """Return the codec's configuration: the JSON of the same name, or ``None`` without one.

    The published base carries none: then the codec is the published firefly.
    """
    config = codec_checkpoint.with_suffix(".json")
    return config if config.is_file() else None
