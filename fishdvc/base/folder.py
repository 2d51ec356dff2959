"""Files of a base or merged model's folder."""

from pathlib import Path

from fishdvc.errors import CheckpointError, list_problems

MODEL_FILES = ("config.json", "model.pth", "tokenizer.tiktoken", "special_tokens.json")


def base_files(folder: Path, codec_checkpoint: str, *, todo: str) -> list[Path]:
    """List the files of a base: the model's files, the codec's weights and its JSON if it exists.

    The published base has no such JSON.

    Args:
        folder: The base.
        codec_checkpoint: Name of the codec's weights in the folder, or an absolute path.
        todo: What the user can do about missing files, for the error message.

    Raises:
        CheckpointError: Files are missing. The message lists all of them.
    """
    files = [folder / name for name in (*MODEL_FILES, codec_checkpoint)]
    missing = [f"{path}: no such file" for path in files if not path.is_file()]
    if missing:
        raise CheckpointError(list_problems(f"{folder}: no base model; {todo}", missing))
    codec_config = (folder / codec_checkpoint).with_suffix(".json")
    return [*files, codec_config] if codec_config.is_file() else files
