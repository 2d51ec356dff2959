"""Stage ``build_protos``: join transcripts and codes to shards, held-out clips apart.

Starts without torch.
"""

import functools
import hashlib
import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import Field

from fishdvc.corpus.bad_clips import OnBadClip, fail_or_report
from fishdvc.dataset.sentence_set import CLIP_LIST
from fishdvc.dataset.shards import Sentence, SpeakerGroup, write_shards
from fishdvc.errors import CheckpointError, DatasetError
from fishdvc.parallel import map_ahead, num_workers, progress
from fishdvc.storage.atomic import atomic_folder, write_metrics, write_text
from fishdvc.text.clean import strip_annotations
from fishdvc.validation import Checked

SPEAKER_WORTH_A_SPLIT = 5
"""Clips from which on a speaker always has one held out."""


class BuildProtosParams(Checked):
    """Section ``build_protos`` of params.yaml."""

    val_fraction: float = Field(description="Share of each speaker's clips held out.", gt=0, le=0.5)
    seed: int = Field(description="Chooses which clips are held out.", ge=0)
    shard_size_mb: float = Field(
        description="A new shard begins after this size, in 10**6 bytes.", gt=0
    )


@dataclass(frozen=True, kw_only=True)
class CodesShape:
    """What the base model expects of codes."""

    num_codebooks: int
    codebook_size: int


def build_protos(
    params: BuildProtosParams,
    *,
    workers: int,
    model_config: Path,
    normalized: Path,
    codes: Path,
    text_extension: str,
    on_bad_clip: OnBadClip,
    protos: Path,
    skipped: Path,
    metrics: Path,
) -> str:
    """Write ``train/`` and ``val/``: one group for each speaker, sentences in the clips' order.

    Equal input gives equal bytes. Adding a clip moves at most one other clip of its speaker
    between training and validation.

    Args:
        params: Split and shard size.
        workers: Number of threads that read codes. 0: one per core.
        model_config: The base model's config.json: number and size of codebooks.
        normalized: Folder with the transcripts.
        codes: Folder with the codes, the same tree.
        text_extension: Suffix of transcripts.
        on_bad_clip: What to do about codes that do not fit the model, or are missing.
        protos: Folder to write; replaced only if the stage succeeds.
        skipped: File to list skipped clips in.
        metrics: File to write counts to.

    Returns:
        One line for people.

    Raises:
        DatasetError: There are bad clips and they may not be skipped, or too few are left.
    """
    start_s = time.monotonic()
    shape = _read_codes_shape(model_config)
    check = functools.partial(_codes_problem, shape=shape)
    transcripts = {
        path.relative_to(normalized).with_suffix("").as_posix(): path
        for path in sorted(normalized.rglob(f"*{text_extension}"))
    }
    code_files = {
        path.relative_to(codes).with_suffix("").as_posix(): path
        for path in sorted(codes.rglob("*.npy"))
    }
    names = sorted(transcripts.keys() & code_files.keys())
    found = map_ahead(check, [code_files[name] for name in names], threads=num_workers(workers))
    checked = progress(zip(names, found, strict=True), total=len(names), label="build_protos")
    bad = {name: problem for name, problem in checked if problem}
    problems = [
        *(
            f"{transcripts[n]}: no codes {codes / n}.npy"
            for n in transcripts
            if n not in code_files
        ),
        *(
            f"{code_files[n]}: no transcript in {normalized}"
            for n in code_files
            if n not in transcripts
        ),
        *bad.values(),
    ]
    good = [name for name in names if name not in bad]
    fail_or_report(
        "build_protos",
        problems,
        num_good=len(good),
        on_bad_clip=on_bad_clip,
        report=skipped,
    )
    held_out = hold_out(good, val_fraction=params.val_fraction, seed=params.seed)
    with atomic_folder(protos) as folder:
        for split, clips in (
            ("train", [name for name in good if name not in held_out]),
            ("val", [name for name in good if name in held_out]),
        ):
            speakers = _by_speaker(clips)
            groups = _groups(speakers, transcripts, code_files)
            write_shards(folder / split, groups, shard_size_bytes=int(params.shard_size_mb * 1e6))
            write_text(folder / split / CLIP_LIST, json.dumps(speakers, indent=0) + "\n")
        num_shards = len(list(folder.rglob("*.protos")))
    write_metrics(
        metrics,
        {
            "num_train_clips": len(good) - len(held_out),
            "num_val_clips": len(held_out),
            "num_skipped": len(problems),
        },
    )
    return (
        f"build_protos: {len(good) - len(held_out)} clips to train on, {len(held_out)} held out, "
        f"{num_shards} shards, {len(problems)} skipped, {time.monotonic() - start_s:.1f} s"
    )


def hold_out(names: Sequence[str], *, val_fraction: float, seed: int) -> frozenset[str]:
    """Choose the clips to validate on: a share of each speaker's, at least one where there are 5.

    Clips are ranked by a hash of their own name, so that the choice hardly moves when clips come
    or go.

    Args:
        names: Clips as ``<speaker>/<clip>``.
        val_fraction: Share of each speaker's clips; rounded half to even.
        seed: Another seed, another choice.

    Raises:
        DatasetError: A single clip cannot be split.
    """
    if len(names) < 2:
        raise DatasetError(
            "build_protos: a single clip cannot be trained on and validated with; add another"
        )
    held_out = []
    speakers = _by_speaker(names)
    for clips in speakers.values():
        least = 1 if len(clips) >= SPEAKER_WORTH_A_SPLIT else 0
        count = max(least, round(val_fraction * len(clips)))
        held_out += _ranked(clips, seed)[:count]
    if not held_out:
        held_out = _ranked(max(speakers.values(), key=len), seed)[:1]
    return frozenset(held_out)


def _ranked(clips: Sequence[str], seed: int) -> list[str]:
    return sorted(clips, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())


def _by_speaker(names: Sequence[str]) -> dict[str, list[str]]:
    speakers = defaultdict(list)
    for name in names:
        speakers[Path(name).parent.name].append(name)
    return dict(sorted(speakers.items()))


def _groups(
    speakers: Mapping[str, Sequence[str]],
    transcripts: Mapping[str, Path],
    code_files: Mapping[str, Path],
) -> Iterator[SpeakerGroup]:
    for speaker, names in speakers.items():
        sentences = tuple(
            Sentence(
                texts=(strip_annotations(transcripts[name].read_text(encoding="utf-8")),),
                codes=np.load(code_files[name]),
            )
            for name in names
        )
        yield SpeakerGroup(name=speaker, source="folder", sentences=sentences)


def _codes_problem(path: Path, *, shape: CodesShape) -> str | None:
    todo = "delete it and the cache folder, then run extract_vq again"
    try:
        codes: npt.NDArray[np.integer] = np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        return f"{path}: not readable as codes ({error}); {todo}"
    if codes.ndim != 2 or codes.shape[0] != shape.num_codebooks or codes.shape[1] == 0:
        wanted = f"({shape.num_codebooks}, frames)"
        return f"{path}: codes must have the shape {wanted}, got {codes.shape}; {todo}"
    if codes.dtype.kind not in "iu":
        return f"{path}: codes must be whole numbers, got {codes.dtype}; {todo}"
    if codes.min() < 0 or codes.max() >= shape.codebook_size:
        return (
            f"{path}: codes must lie in 0..{shape.codebook_size - 1}, "
            f"got {codes.min()}..{codes.max()}; {todo}"
        )
    return None


def _read_codes_shape(model_config: Path) -> CodesShape:
    try:
        config = json.loads(model_config.read_text(encoding="utf-8"))
        return CodesShape(
            num_codebooks=config["num_codebooks"], codebook_size=config["codebook_size"]
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{model_config}: not readable as a model's configuration ({error!r}); "
            "fetch the base again"
        ) from error
