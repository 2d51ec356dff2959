"""Drive a headless Chromium through its debugging pipe, which needs no package."""

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
TIMEOUT_S = 60
NEEDS_CHROMIUM = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
    pytest.mark.xdist_group("browser"),
]
"""Marks of tests that use a browser: all of them run in one process."""


class Browser:
    """One tab. Its events are kept, so that tests can look for errors and requests."""

    def __init__(self, reader: int, writer: int) -> None:
        self._reader, self._writer = reader, writer
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._writer, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, page: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.call("Page.navigate", url=page.resolve().as_uri())
        self.wait_for("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + TIMEOUT_S
        # An element has no value outside of the browser.
        while not self.evaluate(f"Boolean({condition})"):
            if time.monotonic() > end:
                raise TimeoutError(f"not true after {TIMEOUT_S} s: {condition}")
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """Click the middle of an element, as a mouse does."""
        x, y = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', inline: 'center', behavior: 'instant'});"
            "const r = e.getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key: a character, ``Tab``, ``Enter`` or ``Escape``."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27}
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = codes.get(key) or ord(key)
        name = {" ": "Space"}.get(key, f"Digit{key}" if key.isdigit() else key)
        down = {"key": key, "code": name, "windowsVirtualKeyCode": code}
        self.call(
            "Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **down
        )
        self.call("Input.dispatchKeyEvent", type="keyUp", **down)

    def screenshot(self, path: Path, *, width: int, height: int, dark: bool = False) -> None:
        """Set the size and the color scheme of the window, and write what it shows."""
        self.set_window(width=width, height=height, dark=dark)
        self.wait_for(
            # Pictures that are not visible are not loaded.
            "[...document.images].every(image => { const box = image.getBoundingClientRect();"
            "const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];"
            "return image.complete || document.elementFromPoint(x, y) !== image; })"
        )
        picture = self.call("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(picture))

    def set_window(self, *, width: int, height: int, dark: bool = False) -> None:
        """Set the size and the color scheme of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def requested(self) -> list[str]:
        """List the URLs of all requests."""
        return [
            event["params"]["request"]["url"]
            for event in self.events
            if event["method"] == "Network.requestWillBeSent"
        ]

    def complaints(self) -> list[str]:
        """List exceptions, messages of the console, and Chromium's warnings and errors."""
        kinds = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        return [
            json.dumps(event["params"])
            for event in self.events
            # Chromium informs that it skips `autofocus` if the script was faster.
            if event["method"] in kinds and event["params"].get("entry", {}).get("level") != "info"
        ]

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._reader], [], [], TIMEOUT_S)[0]:
                raise TimeoutError(f"Chromium does not answer for {TIMEOUT_S} s")
            data = os.read(self._reader, 1 << 16)
            if not data:
                raise RuntimeError("Chromium has closed its debugging pipe")
            self._buffer += data
        message, self._buffer = self._buffer.split(b"\0", 1)
        parsed: dict[str, Any] = json.loads(message)
        return parsed


@contextmanager
def run_browser(profile: Path) -> Iterator[Browser]:
    """Run a headless Chromium with an empty profile."""
    assert CHROMIUM
    from_us, to_chromium = os.pipe()
    from_chromium, to_us = os.pipe()

    def connect() -> None:
        # Chromium reads its commands from descriptor 3 and writes its answers to descriptor 4.
        commands, answers = os.dup(from_us), os.dup(to_us)
        os.dup2(commands, 3)
        os.dup2(answers, 4)

    process = subprocess.Popen(
        [
            CHROMIUM,
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--mute-audio",
            "--remote-debugging-pipe",
            f"--user-data-dir={profile}",
        ],
        # The pipes close by themselves in the new program, except for the two copies.
        close_fds=False,
        preexec_fn=connect,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(from_us)
    os.close(to_us)
    try:
        yield Browser(from_chromium, to_chromium)
    finally:
        process.kill()
        process.wait()
        os.close(from_chromium)
        os.close(to_chromium)
