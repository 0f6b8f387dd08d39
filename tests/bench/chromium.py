"""How do Chromium and Ghostscript print? A warm browser, asked as a service would ask it.

It is spoken with over its DevTools protocol, sees the bundled fonts and no others, and prints as it
does when nobody says otherwise: with tags.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Thread

import psutil
import websocket

PROGRAMS = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "ghostscript": ("gs",)}
PATIENCE_S = 60

# Nothing at its start or behind its back that would ask a network, or disturb a print.
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-dev-shm-usage",
    "--remote-allow-origins=*",
    "--remote-debugging-port=0",
)

# An archive's PDF as simply as Ghostscript makes it; what it lacks to be valid takes no time.
ARCHIVAL = (
    "-dPDFA=3",
    "-dPDFACompatibilityPolicy=1",
    "-sColorConversionStrategy=RGB",
    "-sDEVICE=pdfwrite",
    "-dNOPAUSE",
    "-dBATCH",
    "-dQUIET",
    "-dSAFER",
)


class NotInstalledError(Exception):
    """The peer of a pair is not on this machine."""


def program(package: str) -> str:
    """Where a program lies, by the name of its package."""
    found = next(filter(None, map(shutil.which, PROGRAMS[package])), None)
    if found is None:
        raise NotInstalledError(f"there is no {package}; on Debian: apt-get install -y {package}")
    return found


class Chromium:
    """A browser with one page open."""

    def __init__(self, process: subprocess.Popen[str], connection: websocket.WebSocket) -> None:
        self._process = process
        self._connection = connection
        self._calls = 0
        self._session: str | None = None
        target = self._first_page()
        attached = self._call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = str(attached["sessionId"])
        self._call("Page.enable")
        tree = self._call("Page.getFrameTree")["frameTree"]
        assert isinstance(tree, dict)
        self._frame = tree["frame"]["id"]

    def _first_page(self) -> str:
        """The page that it opens when it starts; another would need more memory."""
        targets = self._call("Target.getTargets")["targetInfos"]
        assert isinstance(targets, list)
        return next(str(one["targetId"]) for one in targets if one["type"] == "page")

    def print(self, html: str) -> bytes:
        """The page as PDF, on its own paper."""
        self._call("Page.setDocumentContent", frameId=self._frame, html=html)
        printed = self._call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)
        return base64.b64decode(str(printed["data"]))

    def _call(self, method: str, **parameters: object) -> dict[str, object]:
        self._calls += 1
        asked = {"id": self._calls, "method": method, "params": parameters}
        if self._session is not None:
            asked["sessionId"] = self._session
        self._connection.send(json.dumps(asked))
        while True:
            said = json.loads(self._connection.recv())
            if said.get("id") == self._calls:
                break
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']['message']}")
        answer: dict[str, object] = said["result"]
        return answer

    def memory(self) -> int:
        """What all its processes hold, in bytes; what several share is counted once (PSS)."""
        held = 0
        for process in (main := psutil.Process(self._process.pid), *main.children(recursive=True)):
            with suppress(psutil.Error):
                held += process.memory_full_info().pss
        return held

    @contextmanager
    def watched(self) -> Iterator[list[int]]:
        """What it holds, asked for again and again."""
        seen, over = [self.memory()], Event()

        def watch() -> None:
            while not over.wait(0.005):
                seen.append(self.memory())

        watching = Thread(target=watch)
        watching.start()
        try:
            yield seen
        finally:
            over.set()
            watching.join()
            seen.append(self.memory())


@contextmanager
def chromium(fonts: Path) -> Iterator[Chromium]:
    """A browser that sees the fonts of this folder only."""
    found = program("chromium")
    with TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as made:
        folder = Path(made)
        command = [found, *FLAGS, f"--user-data-dir={folder / 'profile'}", "about:blank"]
        if os.geteuid() == 0:
            command.insert(1, "--no-sandbox")
        with subprocess.Popen(
            command,
            env={**os.environ, "FONTCONFIG_FILE": str(_only(fonts, folder))},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                # The library would look at each byte of an answer in Python, which takes longer
                # than to print it.
                with closing(
                    websocket.create_connection(
                        _address(process), timeout=PATIENCE_S, skip_utf8_validation=True
                    )
                ) as connection:
                    yield Chromium(process, connection)
            finally:
                process.terminate()


def _only(fonts: Path, folder: Path) -> Path:
    """A configuration of fontconfig's that knows one folder."""
    file = folder / "fonts.conf"
    file.write_text(
        '<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig>'
        f"<dir>{fonts}</dir><cachedir>{folder / 'cache'}</cachedir></fontconfig>"
    )
    return file


def _address(process: subprocess.Popen[str]) -> str:
    """Where it listens, as it says itself; what it says later is thrown away."""
    assert process.stderr is not None
    said = process.stderr
    for line in said:
        if found := re.search(r"DevTools listening on (ws://\S+)", line):
            Thread(target=lambda: [None for _ in said], daemon=True).start()
            return found[1]
    raise RuntimeError("Chromium ended before it listened")


def ghostscript(folder: Path) -> Sequence[str]:
    """The command that makes `archival.pdf` of `printed.pdf` in a folder."""
    return [
        program("ghostscript"),
        *ARCHIVAL,
        "-o",
        f"{folder}/archival.pdf",
        f"{folder}/printed.pdf",
    ]
