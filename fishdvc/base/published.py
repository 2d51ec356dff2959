"""Sizes and hashes of the published base's files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fishdvc.errors import CheckpointError, list_problems
from fishdvc.storage.cache import content_hash


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """Size and SHA-256 of a published file.

    Attributes:
        num_bytes: Size of the file.
        sha256: Published hash. None if no hash was published.
        reconstructed_sha256: Hashes of contents that the reference implementation would write. A
            file with another hash may be right too.
    """

    num_bytes: int
    sha256: str | None = None
    reconstructed_sha256: tuple[str, ...] = ()


PUBLISHED_REVISION = "275a984d33c33659e39eed41ff5bcd6e67517f4c"
"""Commit of fishaudio/fish-speech-1.5. A mirror's repository may have another name."""

PUBLISHED_FILES = {
    "config.json": PublishedFile(
        num_bytes=697, sha256="a664db2371b8d3eb1e8caba60b3c4e13c6b82f1192df3f7fa8089141124e521b"
    ),
    "model.pth": PublishedFile(
        num_bytes=1_275_908_030,
        sha256="918dc960372cc1b77bbafb14c48ef7a1634ecf75d4eb85b78607223b780d6001",
    ),
    "firefly-gan-vq-fsq-8x1024-21hz-generator.pth": PublishedFile(
        num_bytes=188_518_579,
        sha256="01b81dbf753224a156c3fe139b88bf0b9a0f54b11bee864f95e66511c3ccd754",
    ),
    "tokenizer.tiktoken": PublishedFile(num_bytes=1_698_810),
    "special_tokens.json": PublishedFile(
        num_bytes=30_964,
        # Four reserved tokens have two spellings of equal length.
        reconstructed_sha256=(
            "f1cff717582b591b3434f6fa2c398a36545039ce97dd46d0364ae3bdd95fbe3e",
            "4f6b025025ef68186422ce5646a4a7c1bf34f22a61c5bf78c5d501e425932dc4",
        ),
    ),
}


def check_published(files: Iterable[Path]) -> list[str]:
    """Compare downloaded files of the published revision with the known sizes and hashes.

    Returns:
        Names of the files that could not be verified, because no hash is known.

    Raises:
        CheckpointError: Files differ. The message lists all of them.
    """
    unverified, problems = [], []
    for path in files:
        published = PUBLISHED_FILES.get(path.name)
        if published is None:
            unverified.append(path.name)
            continue
        num_bytes, sha256 = path.stat().st_size, content_hash(path)
        if num_bytes != published.num_bytes or published.sha256 not in (None, sha256):
            # In the cache, the path is a link to the file with the contents.
            problems.append(
                f"{path.name}: expected {published.num_bytes:,} bytes, SHA-256 "
                f"{published.sha256 or 'unknown'}, got {num_bytes:,} bytes, SHA-256 {sha256}; "
                f"rm {path.resolve()}"
            )
        elif sha256 not in (published.sha256, *published.reconstructed_sha256):
            unverified.append(path.name)
    if problems:
        summary = (
            "downloaded files differ from the published ones; remove them and run fetch_base again "
            "or, if they differ again, set HF_ENDPOINT to another server"
        )
        raise CheckpointError(list_problems(summary, problems))
    return unverified
