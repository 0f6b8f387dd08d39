"""A cluster of `support.postgres` that can go down, crash, and come back as it was."""

from __future__ import annotations

import shlex
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from support import postgres


class Server:
    """The server behind an address, in the hands of its operator."""

    def __init__(self, url: str) -> None:
        (host,) = parse_qs(urlsplit(url).query)["host"]
        self._data = Path(host) / "data"
        self._user = postgres._User.of_the_server()
        # The options it was started with: program, -D, folder, and then ours.
        said = shlex.split((self._data / "postmaster.opts").read_text())
        self._options = shlex.join(
            [word for word in said[1:] if word not in {"-D", str(self._data)}]
        )

    def stop(self, mode: str = "fast") -> None:
        """Stop it; `immediate` is a crash: what was not flushed is lost."""
        self._pg_ctl("-m", mode, "stop")

    def start(self) -> None:
        """Start it and wait until it answers."""
        log = str(self._data.parent / "log")
        self._pg_ctl("-l", log, "-o", self._options, "start")

    def crash(self) -> None:
        """Stop it as a power cut would, and start it again."""
        self.stop("immediate")
        self.start()

    def _pg_ctl(self, *arguments: str) -> None:
        self._user.run([postgres._program("pg_ctl"), "-D", str(self._data), "-w", "-s", *arguments])
