"""Stage ``fetch_base``: put the base model's files into one folder, from disk or from a hub.

Starts without torch.
"""

import shutil
import time
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from fishdvc.errors import CheckpointError
from fishdvc.files.base_folder import MODEL_FILES, base_files
from fishdvc.files.cache import content_hash
from fishdvc.files.outputs import fresh_folder
from fishdvc.pipeline.shared_params import BaseParams

PUBLISHED_REVISION = "275a984d33c33659e39eed41ff5bcd6e67517f4c"
PUBLISHED_SHA256 = {
    "config.json": "a664db2371b8d3eb1e8caba60b3c4e13c6b82f1192df3f7fa8089141124e521b",
    "model.pth": "918dc960372cc1b77bbafb14c48ef7a1634ecf75d4eb85b78607223b780d6001",
    "firefly-gan-vq-fsq-8x1024-21hz-generator.pth": (
        "01b81dbf753224a156c3fe139b88bf0b9a0f54b11bee864f95e66511c3ccd754"
    ),
}
"""Of fishaudio/fish-speech-1.5 at that revision; the tokenizer's files have no hash published."""


def fetch_base(params: BaseParams, *, base: Path) -> str:
    """Copy or download the files of the base model.

    Downloads go through huggingface_hub: they resume, and honour HF_ENDPOINT (a mirror), HF_TOKEN
    and HF_HOME.

    Args:
        params: Where from.
        base: Folder to write; replaced only if everything arrived whole.

    Returns:
        One line for people.

    Raises:
        CheckpointError: A file is missing, cannot be reached or is not the published one.
    """
    start_s = time.monotonic()
    source = Path(params.source)
    with fresh_folder(base) as folder:
        if source.is_dir():
            _copy_files(source, folder, params.codec_checkpoint)
        else:
            _download_files(params, folder)
        size_mb = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    elapsed_s = time.monotonic() - start_s
    return f"fetch_base: {params.source}, {size_mb:.1f} MB, {elapsed_s:.1f} s"


def _copy_files(source: Path, folder: Path, codec_checkpoint: str) -> None:
    todo = "complete the folder, or set base.source to another"
    for path in base_files(source, codec_checkpoint, todo=todo):
        shutil.copyfile(path, folder / path.name)


def _download_files(params: BaseParams, folder: Path) -> None:
    for name in (*MODEL_FILES, params.codec_checkpoint):
        shutil.copyfile(_downloaded(params, name), folder / name)
        published = PUBLISHED_SHA256.get(name)
        if params.revision != PUBLISHED_REVISION or published is None:
            continue
        found = content_hash(folder / name)
        if found != published:
            raise CheckpointError(
                f"{params.source}/{name}: its SHA-256 is {found}, published is {published}; "
                "delete it from the hub's cache on this machine (HF_HOME) and fetch it again"
            )


def _downloaded(params: BaseParams, name: str) -> Path:
    where = f"{params.source}/{name}"
    try:
        return Path(hf_hub_download(params.source, name, revision=params.revision))
    except HFValidationError as error:
        raise CheckpointError(
            f"base.source: {params.source!r} is neither a folder here nor the name of a "
            "repository (<owner>/<name>)"
        ) from error
    except GatedRepoError as error:
        raise CheckpointError(
            f"{where}: accept the terms on the repository's page, then set HF_TOKEN"
        ) from error
    except RevisionNotFoundError as error:
        raise CheckpointError(
            f"{where}: no revision {params.revision!r} (base.revision)"
        ) from error
    except RepositoryNotFoundError as error:
        raise CheckpointError(
            f"base.source: no folder {params.source!r} here, and no such repository, or none that "
            "you may see (HF_TOKEN)"
        ) from error
    except LocalEntryNotFoundError as error:
        raise CheckpointError(
            f"{where}: no folder {params.source!r} here, and the hub cannot be reached; mend "
            "base.source, check the network, or set HF_ENDPOINT to a mirror"
        ) from error
    except EntryNotFoundError as error:
        raise CheckpointError(f"{where}: the repository has no such file") from error
    except (HfHubHTTPError, OSError) as error:
        raise CheckpointError(f"{where}: not fetched: {error}; try again") from error
