"""Stage ``build_protos``: write transcripts and codes to shards, held-out clips separately."""

import functools
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from fishdvc.corpus.bad_clips import fail_or_report
from fishdvc.corpus.copies import Copies, find_copies
from fishdvc.corpus.held_out import by_speaker, hold_out
from fishdvc.dataset.shards import CLIP_LIST, Sentence, SpeakerGroup, write_shards
from fishdvc.errors import DatasetError
from fishdvc.model.config import DualARConfig, read_config
from fishdvc.parallel import map_in_threads
from fishdvc.pipeline.shared_params import DatasetParams
from fishdvc.storage.arrays import read_array
from fishdvc.storage.atomic import atomic_folder, write_metrics, write_text
from fishdvc.storage.folders import list_files
from fishdvc.text.clean import find_annotations, strip_annotations
from fishdvc.text.files import read_utf8
from fishdvc.validation import Checked

Codes = NDArray[np.integer[Any]]
MAX_SHOWN_CHARACTERS = 200
"""Characters of the annotations of a transcript in the report."""


class BuildProtosParams(Checked):
    """Section ``build_protos`` of params.yaml."""

    val_fraction: float = Field(description="Share of each speaker's clips held out.", gt=0, le=0.5)
    seed: int = Field(description="Chooses which clips are held out.", ge=0)
    shard_size_mb: float = Field(
        description="A new shard begins after this size, in 10**6 bytes.", gt=0
    )


def build_protos(
    dataset: DatasetParams,
    params: BuildProtosParams,
    *,
    workers: int,
    base: Path,
    normalized: Path,
    codes: Path,
    protos: Path,
    skipped: Path,
    metrics: Path,
) -> str:
    """Write ``train/`` and ``val/``: one group per speaker, sentences in the order of the clips.

    Equal input gives equal bytes. Adding a clip moves at most one other clip of its speaker, with
    its copies, between training and validation.

    Args:
        dataset: Suffix of transcripts, and what to do with clips without codes that fit the model.
        params: Split and shard size.
        workers: Number of threads that read codes. 0: one per core.
        base: Folder of the base model. Its config.json has the number and size of codebooks.
        normalized: Folder with the transcripts.
        codes: Folder of codes with the same tree.
        protos: Folder to write. Replaced only if the stage succeeds.
        skipped: File to list skipped clips, copies and deleted annotations in.
        metrics: File to write counts to.

    Returns:
        Summary of the stage in one line.

    Raises:
        CheckpointError: config.json cannot be used.
        DatasetError: Clips are bad and ``on_bad_clip`` is ``fail``, or fewer than two are left.
    """
    start_s = time.monotonic()
    read = functools.partial(_read_codes, config=read_config(base / "config.json"))
    transcripts = {
        path.relative_to(normalized).as_posix().removesuffix(dataset.text_extension): path
        for path in list_files(normalized, dataset.text_extension)
    }
    names = sorted(transcripts)
    files = [codes / f"{name}.npy" for name in names]
    results = map_in_threads(read, files, workers=workers, label="build_protos")
    texts: dict[str, str] = {}
    good: dict[str, Sentence] = {}
    problems = []
    for name, result in zip(names, results, strict=True):
        if isinstance(result, str):
            problems.append(result)
        else:
            texts[name] = read_utf8(transcripts[name])
            good[name] = Sentence(texts=(strip_annotations(texts[name]),), codes=result)
    copies = find_copies({name: (clip.texts[0], clip.codes) for name, clip in good.items()})
    annotated = list(_annotation_notes(texts))
    fail_or_report(
        "build_protos",
        problems,
        num_good=len(good),
        on_bad_clip=dataset.on_bad_clip,
        report=skipped,
        notes=[*map(_copies_note, copies), *annotated],
    )
    held_out = hold_out(
        list(good),
        [group.names for group in copies],
        val_fraction=params.val_fraction,
        seed=params.seed,
    )
    with atomic_folder(protos) as folder:
        for split, clips in (
            ("train", [name for name in good if name not in held_out]),
            ("val", [name for name in good if name in held_out]),
        ):
            speakers = by_speaker(clips)
            groups = [
                SpeakerGroup(speaker, "folder", tuple(good[name] for name in names))
                for speaker, names in speakers.items()
            ]
            write_shards(folder / split, groups, shard_size_bytes=int(params.shard_size_mb * 1e6))
            write_text(folder / split / CLIP_LIST, json.dumps(speakers, indent=0) + "\n")
        num_shards = len(list(folder.rglob("*.protos")))
    num_train_clips = len(good) - len(held_out)
    counts = {"num_train_clips": num_train_clips, "num_val_clips": len(held_out)}
    write_metrics(metrics, {**counts, "num_skipped": len(problems)})
    return (
        f"build_protos: {num_train_clips} clips to train on, {len(held_out)} held out, "
        f"{num_shards} shards, {len(problems)} skipped, "
        f"{sum(len(group.names) for group in copies)} are copies of each other, "
        f"{len(annotated)} have annotations that are deleted, {time.monotonic() - start_s:.1f} s"
    )


def _annotation_notes(texts: Mapping[str, str]) -> Iterator[str]:
    for name, text in texts.items():
        if found := find_annotations(text):
            shown = ", ".join(map(repr, found))[:MAX_SHOWN_CHARACTERS]
            yield f"{name}: deleted from its transcript as annotations: {shown}"


def _copies_note(copies: Copies) -> str:
    names = ", ".join(copies.names)
    return f"{names}: copies of one clip ({copies.shared}), all to train on or all held out"


def _read_codes(path: Path, *, config: DualARConfig) -> Codes | str:
    """Read codes that fit the model, or return a problem."""
    todo = "delete it and the cache folder, then run extract_vq again"
    try:
        codes: Codes = read_array(path)
    except FileNotFoundError:
        return f"{path}: no such file; extract_vq skipped this clip, or must run again"
    except DatasetError as error:
        return f"{error}; {todo}"
    expected = f"expected integers of the shape ({config.num_codebooks}, frames)"
    is_codes = codes.dtype.kind in "iu" and codes.ndim == 2 and codes.size > 0
    if not is_codes or len(codes) != config.num_codebooks:
        return f"{path}: {expected}, got {codes.dtype} of {codes.shape}; {todo}"
    if codes.min() < 0 or codes.max() >= config.codebook_size:
        return (
            f"{path}: expected codes in 0..{config.codebook_size - 1}, "
            f"got {codes.min()}..{codes.max()}; {todo}"
        )
    return codes
