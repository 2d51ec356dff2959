"""Servers on loopback that artifacts are pushed to: OpenSSH's, and moto's for S3."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SSH_HOST = "voices"
BUCKET = "voices"
S3_USER = {"AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anything"}


def find_sshd() -> str | None:
    """Find OpenSSH's server, which is not on a user's PATH."""
    return shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")


@contextmanager
def ssh_server(folder: Path, home: Path) -> Iterator[None]:
    """Serve this machine's files by OpenSSH, with keys and configuration of its own.

    Args:
        folder: Where keys, configuration and log go; made.
        home: The user's home, whose ``.ssh/config`` is written: the server is ``ssh voices``.
    """
    if os.geteuid() == 0:
        # As root it refuses to start without this folder, which its service makes at boot.
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
        subprocess.run(command, check=True, timeout=60)
    port = _free_port()
    settings = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": folder / "pid",
        "PasswordAuthentication": "no",
        "UsePAM": "no",
        "StrictModes": "no",  # it would forbid keys below /tmp
        "Subsystem": "sftp internal-sftp",
    }
    host = {
        "HostName": "127.0.0.1",
        "Port": port,
        "User": pwd.getpwuid(os.geteuid()).pw_name,
        "IdentityFile": folder / "user",
    }
    user_config = home / ".ssh/config"
    user_config.parent.mkdir(exist_ok=True)
    lines = [f"    {name} {value}\n" for name, value in host.items()]
    user_config.write_text("".join([f"Host {SSH_HOST}\n", *lines]))
    config = folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    with _running([str(find_sshd()), "-D", "-e", "-f", str(config)], port, folder / "log"):
        yield


@contextmanager
def s3_server(log: Path) -> Iterator[str]:
    """Serve the S3 protocol by moto: the objects are in its memory, in a bucket ``voices``.

    Yields:
        Its address.
    """
    port = _free_port()
    address = f"http://127.0.0.1:{port}"
    with _running(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)], port, log
    ):
        request = urllib.request.Request(f"{address}/{BUCKET}", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        yield address


@contextmanager
def _running(command: Sequence[str], port: int, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        _wait_for(port, server, log)
        yield
    finally:
        server.terminate()
        server.wait(30)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _wait_for(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(300):
        assert server.poll() is None, log.read_text()
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError(f"no server on port {port} after 30 s: {log.read_text()}")
