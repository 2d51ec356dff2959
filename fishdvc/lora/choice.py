"""The choice of a checkpoint, ``choice.json``, which evaluate writes for merge."""

from pathlib import Path

from pydantic import Field

from fishdvc.errors import CheckpointError
from fishdvc.storage.atomic import write_text
from fishdvc.validation import Checked, parse_json


class ChosenCheckpoint(Checked):
    """Content of the file."""

    checkpoint: str = Field(description="Name of the adapter's folder.")
    reason: str = Field(description="Why it was chosen, in words.")
    warning: str | None = Field(description="Why it may be bad, in words.")
    num_clips: int = Field(description="Number of clips to train on.")
    hours: float = Field(description="Duration of these clips.")
    figures: dict[str, dict[str, float]] = Field(
        description="By name of the checkpoint or ``base``, then of the metric."
    )

    def write(self, path: Path) -> None:
        """Write the file atomically."""
        write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> "ChosenCheckpoint":
        """Read the file.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        try:
            return parse_json(path, cls)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; evaluate writes this file: run it") from error
