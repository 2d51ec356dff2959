"""Files of a repository on the Hugging Face Hub, or on a mirror that speaks its protocol.

Addresses, tokens, errors and the cache are huggingface_hub's, which reads HF_ENDPOINT, HF_TOKEN and
HF_HOME. Only the bytes are fetched here: huggingface_hub drops what it has when it is stopped, and
its default protocol (Xet) leads past HF_ENDPOINT to servers that a mirror may be there to avoid.
Knows nothing of what the files mean. Starts without torch.
"""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
from huggingface_hub import (
    constants,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import (  # type: ignore[attr-defined]  # public, though mypy cannot tell
    WeakFileLock,
    build_hf_headers,
)

from fishdvc.errors import CheckpointError

COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of a repository at one commit.

    Attributes:
        name: Its path in the repository.
        commit: The commit that the revision stands for.
        num_bytes: Its size; ``None`` if the server does not say it.
        cached: Where it lies in the hub's cache on this machine, or will.
        is_cached: Whether it lies there already.
    """

    name: str
    commit: str
    num_bytes: int | None
    cached: Path
    is_cached: bool

    @property
    def partial(self) -> Path:
        """Where the bytes wait that have arrived so far."""
        return self.cached.with_name(f"{self.cached.name}.incomplete")

    @property
    def num_missing_bytes(self) -> int:
        """What is still to be fetched; 0 if the server does not say the size."""
        if self.is_cached or self.num_bytes is None:
            return 0
        arrived = self.partial.stat().st_size if self.partial.is_file() else 0
        return max(self.num_bytes - arrived, 0)


class HubRepository:
    """A repository on the hub at one revision.

    Args:
        name: As ``fishaudio/fish-speech-1.5``.
        revision: Commit, tag or branch. A commit that is in the cache needs no network.
    """

    def __init__(self, name: str, revision: str) -> None:
        self.name = name
        self.revision = revision

    def find(self, file: str) -> HubFile | None:
        """Ask for a file's size and commit; ``None`` if the repository has no such file.

        Raises:
            CheckpointError: The hub cannot be reached or does not show the repository.
        """
        with self._errors_explained(file):
            if COMMIT.fullmatch(self.revision):
                known = try_to_load_from_cache(self.name, file, revision=self.revision)
                # Neither a path nor None: the cache knows that the commit has no such file.
                if known is not None and not isinstance(known, str):
                    return None
            try:
                found = hf_hub_download(self.name, file, revision=self.revision, dry_run=True)
            except RemoteEntryNotFoundError:
                return None
        return HubFile(
            name=file,
            commit=found.commit_hash,
            num_bytes=found.file_size,
            cached=Path(found.local_path),
            is_cached=found.is_cached,
        )

    def fetch(self, file: HubFile) -> Path:
        """Return the file's path in the cache, after fetching what of it is not there.

        A connection that breaks is taken up again where it broke, as long as something arrives
        each time; so is a download that was stopped in an earlier run.

        Raises:
            CheckpointError: It did not arrive.
        """
        with self._errors_explained(file.name):
            if not file.is_cached:
                self._download(file)
            # Enters a branch or tag in the cache, so that it is found there without a network.
            return Path(hf_hub_download(self.name, file.name, revision=self.revision))

    def _download(self, file: HubFile) -> None:
        url = hf_hub_url(self.name, file.name, revision=file.commit)
        file.cached.parent.mkdir(parents=True, exist_ok=True)
        # Two experiments may fetch the same file at once.
        with WeakFileLock(f"{file.partial}.lock"):
            if file.cached.exists():
                return
            while True:
                start = _reusable_bytes(file)
                try:
                    _append(url, file, start)
                    break
                except httpx2.TransportError:
                    if _reusable_bytes(file) <= start:
                        raise
            file.partial.replace(file.cached)

    @contextmanager
    def _errors_explained(self, file: str) -> Iterator[None]:
        try:
            yield
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
            raise CheckpointError(
                f"{self.name}/{file}: {_explanation(error, self.name, self.revision)}"
            ) from error


def _append(url: str, file: HubFile, start: int) -> None:
    with file.partial.open("ab") as partial:
        http_get(
            url,
            partial,
            resume_size=start,
            headers=build_hf_headers(),
            expected_size=file.num_bytes,
            displayed_filename=file.name,
        )


def _reusable_bytes(file: HubFile) -> int:
    """Number of bytes to go on from; what cannot be a beginning of the file is deleted."""
    if not file.partial.is_file():
        return 0
    arrived = file.partial.stat().st_size
    if file.num_bytes is None or arrived > file.num_bytes:
        file.partial.unlink()
        return 0
    return arrived


def _explanation(error: Exception, repository: str, revision: str) -> str:
    """Say what went wrong and what to do, in one line."""
    hub = constants.ENDPOINT
    # The client wraps what it could not do without into "not in the cache either".
    reason = error.__cause__ if isinstance(error, FileNotFoundError) and error.__cause__ else error
    if isinstance(error, HFValidationError):
        return (
            f"base.source {repository!r} is neither a folder here nor the name of a repository "
            "(<owner>/<name>); mend it"
        )
    if isinstance(reason, GatedRepoError):
        return (
            f"the repository is gated; accept its terms at {hub}/{repository}, then set HF_TOKEN "
            "to a token of that account"
        )
    if isinstance(reason, RevisionNotFoundError):
        return f"the repository has no revision {revision!r}; mend base.revision"
    if isinstance(reason, RepositoryNotFoundError):
        return (
            f"there is no folder {repository!r} here, and {hub} has no such repository or shows it "
            "to others only; mend base.source, or set HF_TOKEN"
        )
    if isinstance(reason, HfHubHTTPError):
        return _status_explanation(reason.response.status_code, hub)
    if isinstance(reason, OfflineModeIsEnabled):
        return "not in the cache (HF_HOME), and HF_HUB_OFFLINE is set; unset it"
    if isinstance(reason, FileMetadataError):
        return f"{hub} does not answer as a hub does; mend HF_ENDPOINT, or the proxy in between"
    if isinstance(reason, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return f"{hub} is no address; set HF_ENDPOINT to one such as https://huggingface.co"
    if isinstance(reason, httpx2.HTTPError):
        return (
            f"{hub} cannot be reached ({_one_line(reason)}); check the network, or set HF_ENDPOINT "
            "to a mirror, and run it again: what has arrived is kept"
        )
    if isinstance(reason, OSError) and reason.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full; free space, and run it again: what has arrived is kept"
    return f"not fetched ({_one_line(reason)}); run it again"


def _status_explanation(status: int, hub: str) -> str:
    todo = {
        401: "it does not know the token; mend HF_TOKEN, or unset it",
        403: "the token may not read this; set HF_TOKEN to one that may",
        404: "it has no such page; mend HF_ENDPOINT",
        416: "its file is not the one that was begun; delete the .incomplete file in HF_HOME",
        429: "it wants fewer requests; wait some minutes, or set HF_TOKEN",
    }
    otherwise = "try again later, or set HF_ENDPOINT to a mirror"
    return f"{hub} answered {status}: {todo.get(status, otherwise)}"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
