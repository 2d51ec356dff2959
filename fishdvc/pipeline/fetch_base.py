"""Stage ``fetch_base``: put the base model's files into one folder, from disk or from a hub.

Starts without torch.
"""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from fishdvc.base.disk_space import check_disk_space
from fishdvc.base.folder import MODEL_FILES, base_files, codec_config_beside
from fishdvc.base.hub import HubFile, HubRepository
from fishdvc.base.published import (
    PUBLISHED_REVISION,
    check_published_size,
    has_published_hash,
)
from fishdvc.errors import CheckpointError, list_problems
from fishdvc.pipeline.shared_params import BaseParams
from fishdvc.storage.atomic import atomic_folder


def fetch_base(params: BaseParams, *, base: Path) -> str:
    """Copy or download the files of the base model; see docs/published-base.md.

    Downloads go through huggingface_hub's cache (HF_HOME), from HF_ENDPOINT, with HF_TOKEN, and go
    on where they were stopped. Of the published revision, sizes and hashes are checked where they
    are known; the summary names the files of which no hash is.

    Args:
        params: Where from.
        base: Folder to write; replaced only if everything arrived whole.

    Returns:
        One line for people.

    Raises:
        CheckpointError: A file is missing, cannot be reached or is not the published one, or the
            disk has no space for it.
    """
    start_s = time.monotonic()
    source = Path(params.source)
    if source.is_dir():
        note = "a folder's files are taken as they are"
        # An absolute path stands for itself, also below the source.
        codec = _codec_apart(params) or params.codec_checkpoint
        todo = "complete the folder, or set base.source to another"
        _copy_files(base_files(source, str(codec), todo=todo), base)
    else:
        files, note = _fetch_files(params, base)
        _copy_files(files, base)
    size_mb = sum(path.stat().st_size for path in base.iterdir()) / 1e6
    elapsed_s = time.monotonic() - start_s
    return f"fetch_base: {params.source}, {size_mb:.1f} MB, {elapsed_s:.1f} s; {note}"


def _codec_apart(params: BaseParams) -> Path | None:
    """The codec's file if it was given with a folder; a bare name means a file of the source."""
    path = Path(params.codec_checkpoint)
    return None if path.name == params.codec_checkpoint else path.absolute()


def _copy_files(files: Sequence[Path], base: Path) -> None:
    by_name = {path.name: path for path in files}
    clash = next((path for path in files if by_name[path.name] != path), None)
    if clash:
        raise CheckpointError(
            f"{clash} and {by_name[clash.name]}: one name for two files of the base; "
            "rename the codec's"
        )
    check_disk_space([(base, sum(path.stat().st_size for path in files))])
    try:
        with atomic_folder(base) as folder:
            for name, path in by_name.items():
                shutil.copyfile(path, folder / name)
    except OSError as error:
        raise CheckpointError(
            f"{base}: not written: {error}; mend this, and run it again"
        ) from error


def _fetch_files(params: BaseParams, base: Path) -> tuple[list[Path], str]:
    """Fetch the files into the hub's cache; return their paths and what is known of them."""
    own_codec = _codec_apart(params)
    if own_codec and not own_codec.is_file():
        raise CheckpointError(
            f"base.codec_checkpoint: no such file: {own_codec}; mend it, or give a bare name for a "
            "file of the repository"
        )
    repository = HubRepository(params.source, params.revision)
    wanted = _find_files(repository, None if own_codec else params.codec_checkpoint)
    commit = wanted[0].commit
    is_published = commit == PUBLISHED_REVISION
    if is_published:
        for file in wanted:
            check_published_size(f"{params.source}/{file.name}", file.name, file.num_bytes)
    writes = [(file.cached.parent, file.num_missing_bytes) for file in wanted]
    check_disk_space([*writes, (base.parent, sum(file.num_bytes or 0 for file in wanted))])
    paths = {file.name: repository.fetch(file) for file in wanted}
    unproven = [
        name
        for name, path in paths.items()
        if not (is_published and has_published_hash(f"{params.source}/{name}", name, path))
    ]
    note = f"commit {commit[:12]}, " + (
        f"no published hash to compare with: {', '.join(unproven)}"
        if unproven
        else "all hashes are the published ones"
    )
    own_files = [own_codec, codec_config_beside(own_codec)] if own_codec else []
    return [*paths.values(), *(path for path in own_files if path)], note


def _find_files(repository: HubRepository, codec_checkpoint: str | None) -> list[HubFile]:
    """Find the model's files, and the codec's if it is the repository's; its JSON may be absent."""
    codec_files = [codec_checkpoint] if codec_checkpoint else []
    found = {name: repository.find(name) for name in (*MODEL_FILES, *codec_files)}
    missing = [
        f"{repository.name}/{name}: the repository has no such file"
        for name, file in found.items()
        if file is None
    ]
    if missing:
        where = f"{repository.name} at {repository.revision}"
        todo = "mend base.source, base.revision or base.codec_checkpoint"
        raise CheckpointError(list_problems(f"{where}: no base model; {todo}", missing))
    if codec_checkpoint:
        config = Path(codec_checkpoint).with_suffix(".json").name
        found[config] = repository.find(config)
    return [file for file in found.values() if file]
