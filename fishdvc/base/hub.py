"""Download from the Hugging Face Hub or a mirror of it."""

import errno
from collections.abc import Sequence
from pathlib import Path

import httpx2
from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    FileMetadataError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from fishdvc.errors import CheckpointError


def download(repository: str, revision: str, names: Sequence[str]) -> Path:
    """Download files of a repository into the cache of huggingface_hub.

    huggingface_hub reads the environment variables HF_ENDPOINT, HF_TOKEN, HF_HOME and
    HF_HUB_OFFLINE. Files that are in the cache are not downloaded again.

    Args:
        repository: Name of the repository, such as ``fishaudio/fish-speech-1.5``.
        revision: Commit, tag or branch.
        names: Files to download. Files that the repository lacks are skipped.

    Returns:
        The folder with the files. Its name is the commit.

    Raises:
        CheckpointError: The download failed.
    """
    # The Xet protocol downloads from its own servers, also if HF_ENDPOINT names a mirror.
    constants.HF_HUB_DISABLE_XET = True
    try:
        return Path(snapshot_download(repository, revision=revision, allow_patterns=[*names]))
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, ValueError) as error:
        reason = _explain(error, repository)
        raise CheckpointError(f"{repository} at {revision}: {reason}") from error


def _explain(error: Exception, repository: str) -> str:
    """Return the reason of a failed download and what to do, in one line."""
    hub = constants.ENDPOINT
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__  # Why a file that is not in the cache was not downloaded.
    details = " ".join(str(error).split()) or type(error).__name__
    match error:
        case HFValidationError():
            return (
                f"{repository!r} is neither a folder here nor the name of a repository "
                "(<owner>/<name>); correct base.source"
            )
        case GatedRepoError():
            return (
                f"the repository is gated; accept its terms at {hub}/{repository} and set HF_TOKEN "
                "to a token of the same account"
            )
        case RepositoryNotFoundError():
            return (
                f"no such folder here, and no such repository at {hub}, or it is private; "
                "correct base.source or set HF_TOKEN"
            )
        case RevisionNotFoundError():
            return "the repository has no such revision; correct base.revision"
        case HfHubHTTPError():
            status = f"{error.response.status_code} {error.response.reason_phrase}"
            return f"{hub} answered {status}; check HF_ENDPOINT and HF_TOKEN, or try again later"
        case OfflineModeIsEnabled():
            return "not in the cache (HF_HOME), and HF_HUB_OFFLINE is set; unset it"
        case FileMetadataError() | ValueError():
            return (
                f"{hub} does not answer like a Hugging Face Hub; "
                "correct HF_ENDPOINT or the settings of the proxy"
            )
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            return f"{hub} is not a URL; set HF_ENDPOINT to one such as https://huggingface.co"
        case httpx2.HTTPError():
            return (
                f"connection to {hub} failed ({details}); check the network or set HF_ENDPOINT to "
                "a mirror, then run fetch_base again: complete files are kept"
            )
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return (
                f"the disk of {constants.HF_HUB_CACHE} is full; free some space or set HF_HOME to "
                "a folder on another disk, then run fetch_base again: complete files are kept"
            )
    return f"download failed ({details}); run fetch_base again"
