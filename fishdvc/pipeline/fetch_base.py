"""Stage ``fetch_base``: copy or download the base model's files into one folder."""

import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from fishdvc.base.folder import MODEL_FILES, base_files
from fishdvc.base.hub import download
from fishdvc.base.published import PUBLISHED_REVISION, check_published
from fishdvc.errors import CheckpointError
from fishdvc.lora.files import read_adapter
from fishdvc.lora.targets import adaptable_shapes, check_fit
from fishdvc.model.config import read_config
from fishdvc.pipeline.shared_params import BaseParams, external_path, init_from_path
from fishdvc.storage.atomic import atomic_folder

DEMO_BASE = Path("demo_base/checkpoint")
"""A folder that ``base.source`` may name. dvc.yaml lists it as a dependency of the stage."""


def fetch_base(params: BaseParams, *, init_from: str | None, base: Path) -> str:
    """Copy or download the files of the base model. See docs/published-base.md.

    Args:
        params: Source of the files.
        init_from: ``train_lora.init_from``. This stage checks the adapter, because DVC deletes
            ``data/lora`` before it runs ``train_lora``.
        base: Folder to write. It is replaced only if all files are complete.

    Returns:
        A summary in one line. It names downloaded files that could not be verified.

    Raises:
        ParamsError: The source, the codec or the adapter is a path that DVC does not track.
        CheckpointError: Files are missing or differ from the published ones, the download failed,
            or the adapter is damaged or does not fit the base.
    """
    start_s = time.monotonic()
    adapter = None if init_from is None else read_adapter(init_from_path(init_from))
    if Path(params.source).is_dir():
        files = folder_files(params)
        note = "files of a folder are not verified"
    else:
        files, note = _download_files(params, _codec(params))
    if adapter is not None:
        config = read_config(next(path for path in files if path.name == "config.json"))
        check_fit(adaptable_shapes(config), adapter, where="train_lora.init_from")
    _copy_files(files, base)
    size_mb = sum(path.stat().st_size for path in base.iterdir()) / 1e6
    elapsed_s = time.monotonic() - start_s
    return f"fetch_base: {params.source}, {size_mb:.1f} MB, {elapsed_s:.1f} s; {note}"


def folder_files(params: BaseParams) -> list[Path]:
    """List the files to copy if ``base.source`` is a folder.

    Raises:
        ParamsError: The source or the codec is a path that DVC does not track.
        CheckpointError: Files are missing.
    """
    folder = Path(params.source)
    if folder.absolute() != DEMO_BASE.absolute():
        _tracked(str(folder), "source")
    todo = "complete the folder or set base.source to another"
    return base_files(folder, _codec(params), todo=todo)


def _codec(params: BaseParams) -> str:
    """Return the name of the codec's file in the source, or the absolute path of the user's own."""
    if params.codec_checkpoint == params.codec_file:
        return params.codec_file
    return str(_tracked(params.codec_checkpoint, "codec_checkpoint").absolute())


def _tracked(path: str, name: str) -> Path:
    return external_path(path, stage="fetch_base", param=f"base.{name}")


def _download_files(params: BaseParams, codec: str) -> tuple[list[Path], str]:
    """Return the files and a note on which of them could be verified."""
    # The absolute path of the user's own codec matches no file of the repository.
    names = [*MODEL_FILES, codec, str(Path(codec).with_suffix(".json"))]
    folder = download(params.source, params.revision, names)
    todo = "correct base.source, base.revision or base.codec_checkpoint"
    files = base_files(folder, codec, todo=f"{params.source} at {params.revision} has none; {todo}")
    downloaded = [path for path in files if path.parent == folder]
    is_published = folder.name == PUBLISHED_REVISION
    unverified = check_published(downloaded) if is_published else [f.name for f in downloaded]
    note = f"no known hash: {', '.join(unverified)}" if unverified else "all hashes match"
    return files, f"commit {folder.name[:12]}, {note}"


def _copy_files(files: Sequence[Path], base: Path) -> None:
    by_name = {path.name: path for path in files}
    clash = next((path for path in files if by_name[path.name] != path), None)
    if clash:
        raise CheckpointError(
            f"{by_name[clash.name]}: the base has another file of this name, {clash}; "
            "rename the codec's files"
        )
    with atomic_folder(base) as folder:
        for name, path in by_name.items():
            shutil.copyfile(path, folder / name)
