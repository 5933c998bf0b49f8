"""Stands in for ``python -m serving``: the same command line, files and answers, in milliseconds and without an engine.

``TUNELINE_STUB`` (JSON) makes it misbehave:
    die: print this and exit with ``code`` at once
    gate: do not answer before this file exists
    drain: seconds it goes on after SIGTERM before it ends, leaving a file ``drained``
    grandchild: start a process that starts one that ignores SIGTERM (its pid is in ``grandchild``), in other sessions
    helper: start a process in the same session; its pid is in ``helper``
    error: say this in place of applying any release
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"
_PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE, start_new_session=True)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(600)
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    for name in ("endpoint", "folder", "host", "port", "workdir", "poll-seconds"):
        parser.add_argument(f"--{name}", required=True)
    args = parser.parse_args()
    behaviour = json.loads(os.environ.get("TUNELINE_STUB", "{}"))
    workdir = Path(args.workdir)
    started = Path(workdir / "starts")
    started.write_text(started.read_text() + "x" if started.exists() else "x")
    (workdir / "seen.json").write_text(
        json.dumps({"argv": sys.argv[1:], "environment": dict(os.environ), "zenml": "zenml" in sys.modules})
    )
    (workdir / "gateway.log").open("a").write(f"gateway of {args.endpoint} says hello\n")
    if "die" in behaviour:
        (workdir / "engine.log").open("a").write("engine: out of memory\n")
        sys.stderr.write(behaviour["die"] + "\n")
        raise SystemExit(behaviour.get("code", 1))
    if behaviour.get("grandchild"):
        command = [sys.executable, "-c", _PARENT, _STUBBORN]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True)
        (workdir / "grandchild").write_text(child.stdout.readline().decode())  # type: ignore[union-attr]
    if behaviour.get("helper"):
        helper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        (workdir / "helper").write_text(str(helper.pid))
    while "gate" in behaviour and not Path(behaviour["gate"]).exists():
        time.sleep(0.02)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            releases = sorted(Path(args.folder, "releases").glob("*.json"))
            wanted = int(releases[-1].stem) if releases else None
            error = behaviour.get("error") if wanted else None
            detail = {
                "ready": bool(wanted and not error),
                "state": "ready" if wanted else "no release",
                "release": None if error else wanted,
                "sequence": None if error else wanted,
                "wanted": wanted,
                "engine": {"state": "ready", "pid": os.getpid(), "starts": 2, "error": None},
                "error": error and f"release {wanted} could not be applied: {error}",
            }
            body = json.dumps(detail).encode()
            self.send_response(200 if self.path == "/livez" or detail["ready"] else 503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer((args.host, int(args.port)), Handler)

    def end(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    answer = workdir / "endpoint.json"
    part = workdir / "endpoint.part"
    url = f"http://{args.host}:{server.server_address[1]}"
    part.write_text(json.dumps({"pid": os.getpid(), "pgid": os.getpgid(0), "url": url, "endpoint": args.endpoint}))
    part.replace(answer)
    server.serve_forever(poll_interval=0.05)
    if seconds := behaviour.get("drain"):
        time.sleep(seconds)
        (workdir / "drained").touch()
    answer.unlink()


if __name__ == "__main__":
    main()
