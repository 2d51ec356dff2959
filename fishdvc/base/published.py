"""What is known of the published base's files: their sizes, and of some their hashes.

Starts without torch.
"""

from dataclasses import dataclass
from pathlib import Path

from fishdvc.errors import CheckpointError
from fishdvc.storage.cache import content_hash


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """What is known of a file.

    Attributes:
        num_bytes: Its size.
        sha256: Hash of its bytes in hexadecimal; ``None`` where none was published.
        reconstructed_sha256: Hashes that it may have: of its contents as the reference
            implementation would write them.
    """

    num_bytes: int
    sha256: str | None = None
    reconstructed_sha256: tuple[str, ...] = ()


PUBLISHED_REVISION = "275a984d33c33659e39eed41ff5bcd6e67517f4c"
"""Of fishaudio/fish-speech-1.5; a commit's name is a hash, so it means the same anywhere."""

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


def check_published_size(where: str, name: str, num_bytes: int | None) -> None:
    """Compare a size that a server states with the published one, before anything is fetched.

    Raises:
        CheckpointError: It is another.
    """
    published = PUBLISHED_FILES.get(name)
    if published and num_bytes is not None and num_bytes != published.num_bytes:
        raise CheckpointError(
            f"{where}: {num_bytes:,} bytes, published are {published.num_bytes:,}; "
            "the server (HF_ENDPOINT) has another file: set another"
        )


def has_published_hash(where: str, name: str, path: Path) -> bool:
    """Whether a file is proven to be the published one: ``False`` if no hash of it is known.

    Args:
        where: What to call the file in a message.
        name: Its name among the published files.
        path: The file.

    Raises:
        CheckpointError: Its size or its hash is another than the published one.
    """
    published = PUBLISHED_FILES.get(name)
    if published is None:
        return False
    found = content_hash(path)
    size_differs = path.stat().st_size != published.num_bytes
    if size_differs or (published.sha256 and found != published.sha256):
        expected = published.sha256 or f"unknown, its size {published.num_bytes:,} bytes"
        raise CheckpointError(
            f"{where}: not the published file: {path.stat().st_size:,} bytes, SHA-256 {found}; "
            f"published is SHA-256 {expected}; delete {path.resolve()} and run it again; if that "
            "gives the same file, set HF_ENDPOINT to another server"
        )
    return bool(published.sha256) or found in published.reconstructed_sha256
