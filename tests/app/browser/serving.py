"""The page as a process of its own, started and stopped as a person does it."""

import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

READY = re.compile(rb"http://127\.0\.0\.1:(\d+)")
START_SECONDS = 180
# The embedded models at a sixteenth of their size, so that a film takes seconds.
QUICK = (
    "keyframes.operation_steps=[350,700]",
    "keyframes.width=64",
    "keyframes.height=64",
    "keyframes.num_inference_steps=2",
    "video.num_inference_steps=1",
    "video.buckets=[[64,64]]",
)


class Server:
    """`python -m paintsundo.app` on any free port."""

    def __init__(self, folder: Path, settings: Sequence[str] = QUICK) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.log = folder / "server.log"
        command = [sys.executable, "-m", "paintsundo.app", "server.port=0", f"runs.folder={folder / 'runs'}", *settings]
        offline = {"HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "GRADIO_ANALYTICS_ENABLED": "False"}
        self._log = self.log.open("ab")
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=self._log, env={**os.environ, **offline}, start_new_session=True
        )
        self.address = self._address()

    def _address(self) -> str:
        assert self.process.stdout is not None
        told, end = b"", time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if select.select([self.process.stdout], [], [], 1)[0]:
                chunk = os.read(self.process.stdout.fileno(), 65536)
                told += chunk
                found = READY.search(told)
                if found:
                    return f"http://127.0.0.1:{found[1].decode()}"
                if not chunk:
                    break
        self.stop()
        raise AssertionError(f"the page did not start: {told.decode()} {self.log.read_text(encoding='utf-8')}")

    def faults(self) -> str:
        """What the log tells from the first traceback on; nothing where all went well."""
        _, found, rest = self.log.read_text(encoding="utf-8").partition("Traceback")
        return found + rest[:4000]

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """Stop it as Ctrl-C does; gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            if self.process.stdout is not None:
                self.process.stdout.close()
            self._log.close()
