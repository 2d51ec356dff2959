"""Artifacts travel by a folder, an SSH server and an S3 server, and nobody trains twice."""

import re
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.servers import BUCKET, S3_USER, SSH_HOST, find_sshd, s3_server, ssh_server
from tests.small_project import Project, stages_run

TRAVELS = {"data/codes", "data/protos", "data/lora", "data/logs", "data/metrics/train_lora"}
STAYS = {"data/base", "data/normalized", "data/merged"}


@dataclass(frozen=True)
class Remote:
    """A place for artifacts.

    Attributes:
        url: As ``dvc remote add`` takes it.
        names: Lists the stored files.
        settings: As ``dvc remote modify`` takes them; they are committed.
        environment: What each user has set, apart from the project.
    """

    url: str
    names: Callable[[], list[str]]
    settings: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def hashes(self) -> set[str]:
        """MD5s of what is stored, those of folders with ``.dir`` behind."""
        return {"".join(name.split("/")[-2:]) for name in self.names()}


def names_below(folder: Path) -> list[str]:
    return [path.as_posix() for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def folder_remote(tmp_path: Path) -> Remote:
    folder = tmp_path / "storage"
    return Remote(str(folder), lambda: names_below(folder))


@pytest.fixture
def ssh_remote(tmp_path: Path, finished: Project) -> Iterator[Remote]:
    """OpenSSH's own server on loopback."""
    pytest.importorskip("sshfs", reason="pip install '.[ssh]'")
    if find_sshd() is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no OpenSSH server here: apt-get install openssh-server")
    folder = tmp_path / "storage"
    with ssh_server(tmp_path / "sshd", finished.home):
        yield Remote(f"ssh://{SSH_HOST}{folder}", lambda: names_below(folder))


@pytest.fixture
def s3_remote(tmp_path: Path) -> Iterator[Remote]:
    """moto's server on loopback: the S3 protocol over HTTP, the objects in its memory."""
    pytest.importorskip("s3fs", reason="pip install '.[s3]'")
    pytest.importorskip("moto", reason="pip install '.[test]'")
    with s3_server(tmp_path / "s3.log") as address:

        def names() -> list[str]:
            with urllib.request.urlopen(f"{address}/{BUCKET}?list-type=2", timeout=30) as reply:
                return re.findall(r"<Key>(.*?)</Key>", reply.read().decode())

        yield Remote(
            f"s3://{BUCKET}/fishdvc",
            names,
            settings={"endpointurl": address, "region": "us-east-1"},
            environment=S3_USER,
        )


def locked_hashes(project: Project) -> dict[str, str]:
    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())
    return {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage.get("outs", [])
        if out["path"] in TRAVELS | STAYS
    }


def voice_hash(project: Project) -> str:
    voice = yaml.safe_load((project.folder / "data/my-voice.dvc").read_text())
    return str(voice["outs"][0]["md5"])


def add_remote(project: Project, remote: Remote) -> None:
    project.environment |= remote.environment
    project.run("dvc", "remote", "add", "--default", "storage", remote.url)
    for option, value in remote.settings.items():
        project.run("dvc", "remote", "modify", "storage", option, value)
    project.commit("Keep artifacts in the storage")


@pytest.mark.parametrize("kind", ["folder", "ssh", "s3"])
def test_artifacts_travel(
    kind: str, project: Project, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    remote = request.getfixturevalue(f"{kind}_remote")
    add_remote(project, remote)
    assert "files pushed" in project.run("dvc", "push")
    assert "are in sync" in project.run("dvc", "status", "--cloud")

    # What cannot be made again travels, the rest stays.
    hashes = locked_hashes(project)
    assert hashes.keys() == TRAVELS | STAYS
    stored = remote.hashes()
    assert {path for path, md5 in hashes.items() if md5 in stored} == TRAVELS
    assert voice_hash(project) in stored

    # A colleague's clone; first what is needed only, then all.
    colleague = project.clone(tmp_path / "colleague")
    colleague.environment |= remote.environment
    assert "files fetched" in colleague.run("dvc", "fetch", "data/my-voice.dvc")
    assert not (colleague.folder / "data/lora").exists()
    colleague.run("dvc", "pull", "--allow-missing")
    for path in (*TRAVELS, "data/my-voice"):
        assert contents(colleague.folder / path) == contents(project.folder / path)
    for path in STAYS:
        assert not (colleague.folder / path).exists()
    assert "Running stage" not in colleague.run("dvc", "repro", "--allow-missing")

    # Recordings that no commit needs any more go, the others stay.
    (project.folder / "data/my-voice/bob/clip.5.lab").write_text("Another transcript.")
    project.run("dvc", "add", "data/my-voice")
    project.run("dvc", "push")
    outdated = voice_hash(project)
    assert outdated in remote.hashes()
    project.run("git", "checkout", "--quiet", "data/my-voice.dvc")
    project.run("dvc", "gc", "--all-commits", "--all-experiments", "--cloud", "--force")
    assert remote.hashes() < stored | {outdated}
    assert outdated not in remote.hashes()
    assert remote.hashes() >= {voice_hash(project), *(hashes[path] for path in TRAVELS)}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_who_only_pulls_has_the_voice_without_training(
    project: Project, tmp_path: Path, folder_remote: Remote
) -> None:
    add_remote(project, folder_remote)
    project.run("dvc", "push")
    colleague = project.clone(tmp_path / "colleague")
    colleague.run("dvc", "pull", "--allow-missing")
    printed = colleague.run("dvc", "repro", "--single-item", "fetch_base", "merge")
    assert stages_run(printed) == ["fetch_base", "merge"]
    merged = "data/merged"
    assert contents(colleague.folder / merged) == contents(project.folder / merged)
    assert colleague.run("git", "status", "--porcelain") == ""

    # From there on it works as at home: another checkpoint costs a merge.
    chosen = ("-S", "merge.checkpoint=step_000000002")
    run = ("dvc", "exp", "run", "--allow-missing", "--temp", "--name", "earlier")
    assert stages_run(colleague.run(*run, *chosen)) == ["merge"]
    # The others get it by Git.
    colleague.run("dvc", "exp", "push", "origin", "earlier")
    shown = project.experiments()["earlier"]["metrics"]["data/metrics/merge.json"]["data"]
    assert shown["merged_step"] == 2


def test_a_plain_pull_names_what_is_not_kept_elsewhere(
    project: Project, tmp_path: Path, folder_remote: Remote
) -> None:
    add_remote(project, folder_remote)
    project.run("dvc", "push")
    colleague = project.clone(tmp_path / "colleague")
    with pytest.raises(AssertionError, match="Checkout failed for following targets") as caught:
        colleague.run("dvc", "pull")
    assert all(path in str(caught.value) for path in STAYS)

    # What is missing is made again; the adapters, which came with the pull, are not.
    printed = colleague.run("dvc", "repro")
    assert stages_run(printed) == ["fetch_base", "normalize", "merge"]
