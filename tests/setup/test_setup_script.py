"""``setup.sh`` with a stand-in for uv: what it installs, when, and with what it was told.

The real installation is what every other test runs in.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tuneline.paths import REPO

# Makes a folder look like an environment, and notes what it was called with.
_UV = f"""#!/usr/bin/env bash
[ "$*" != "pip install --help" ] || {{ echo "--torch-backend"; exit; }}
echo "$* links=${{UV_FIND_LINKS:-}} index=${{UV_DEFAULT_INDEX:-}}" >>calls
if [ "$1" = venv ]; then
  folder="${{@: -1}}"
  mkdir -p "$folder/bin" && ln -sf {sys.executable} "$folder/bin/python"
elif [ -e fails ]; then
  exit 1
fi
"""


class Checkout:
    """A copy of what the script needs, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copy(REPO / "setup.sh", folder)
        shutil.copy(REPO / "pyproject.toml", folder)
        shutil.copytree(REPO / "constraints", folder / "constraints")
        self.command("uv", _UV)

    def command(self, name: str, text: str) -> None:
        path = self.folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def setup(self, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
        kept = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith(("PIP_", "UV_", "PYTHON", "TUNELINE_"))
        }
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return subprocess.run(
            ["./setup.sh", *options],
            cwd=self.folder,
            env=kept | {"PATH": path, "PIP_CONFIG_FILE": os.devnull} | env,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def calls(self) -> list[str]:
        """What uv was called with since the last time."""
        log = self.folder / "calls"
        lines = log.read_text().splitlines() if log.exists() else []
        log.unlink(missing_ok=True)
        return lines

    def installs(self) -> list[str]:
        return [call for call in self.calls() if call.startswith("pip install")]


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_both_environments_are_made_and_then_left_alone(checkout: Checkout) -> None:
    done = checkout.setup()
    assert done.returncode == 0, done.stderr
    first, second = checkout.installs()
    assert "--python .venv/bin/python" in first
    assert "--extra pipelines --extra dev" in first
    assert "--constraints constraints/pipelines.txt" in first
    assert "--python .venv-serving/bin/python" in second
    assert "--overrides constraints/overrides.txt" in second
    again = checkout.setup()
    assert checkout.calls() == []
    assert ".venv is complete" in again.stdout


def test_what_did_not_finish_is_installed_again(checkout: Checkout) -> None:
    (checkout.folder / "fails").touch()
    broken = checkout.setup()
    assert broken.returncode == 1
    assert "run ./setup.sh again" in broken.stderr
    (checkout.folder / "fails").unlink()
    checkout.calls()
    assert checkout.setup().returncode == 0
    assert len(checkout.installs()) == 2


def test_changed_pins_and_a_lost_interpreter_are_noticed(checkout: Checkout) -> None:
    checkout.setup()
    checkout.calls()
    with (checkout.folder / "constraints" / "pipelines.txt").open("a") as file:
        file.write("newcomer==1.0\n")
    checkout.setup()
    assert len(checkout.installs()) == 2
    (checkout.folder / ".venv" / "bin" / "python").unlink()
    checkout.setup()
    (call,) = checkout.installs()
    assert "--python .venv/bin/python" in call


def test_a_gpu_decides_which_engine_is_installed(checkout: Checkout) -> None:
    checkout.command("nvidia-smi", "#!/bin/sh\necho 'GPU 0: A card'\n")
    checkout.setup("--only", "serving")
    (call,) = checkout.installs()
    assert "--extra serving-gpu --constraints constraints/serving-gpu.txt" in call
    assert "--torch-backend=auto" in call
    checkout.setup("--only", "serving", "--cpu")
    (call,) = checkout.installs()
    assert "--extra serving-cpu --constraints constraints/serving-cpu.txt" in call
    assert "--torch-backend=cpu" in call


def test_an_nvidia_smi_without_a_driver_is_no_gpu(checkout: Checkout) -> None:
    checkout.command("nvidia-smi", "#!/bin/sh\necho 'Failed to initialize NVML'\nexit 9\n")
    checkout.setup("--only", "serving")
    assert "--extra serving-cpu" in checkout.installs()[0]


def test_what_pip_is_told_uv_is_told_too(checkout: Checkout, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    checkout.setup("--only", "pipelines", PIP_FIND_LINKS=str(wheels), PIP_INDEX_URL="http://mirror.test/simple")
    (call,) = checkout.installs()
    assert f"links={wheels} index=http://mirror.test/simple" in call
    assert "--torch-backend=cpu" in call
    (wheels / "torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl").touch()
    checkout.setup("--only", "pipelines", "--force", PIP_FIND_LINKS=str(wheels))
    assert "--torch-backend" not in checkout.installs()[0]


@pytest.mark.parametrize("options", [("--frce",), ("--only",), ("--only", "gpu")])
def test_mistaken_options_end_with_two_and_change_nothing(checkout: Checkout, options: tuple[str, ...]) -> None:
    done = checkout.setup(*options)
    assert done.returncode == 2
    assert done.stderr
    assert checkout.calls() == []


def test_a_python_that_will_not_do_is_told_before_anything_is_removed(checkout: Checkout) -> None:
    checkout.setup()
    done = checkout.setup("--force", PYTHON="no-such-python")
    assert done.returncode == 2
    assert "PYTHON=no-such-python" in done.stderr
    assert (checkout.folder / ".venv" / ".complete").exists()


@pytest.fixture
def endpoint(checkout: Checkout) -> Iterator[subprocess.Popen[bytes]]:
    """A process that looks like this checkout's endpoint, with its file."""
    (checkout.folder / "serving.py").write_text("import time; time.sleep(60)")
    process = subprocess.Popen(
        [sys.executable, "-m", "serving", "--name", "a"], cwd=checkout.folder, start_new_session=True
    )
    folder = checkout.folder / ".tuneline" / "endpoints" / "a"
    folder.mkdir(parents=True)
    (folder / "endpoint.json").write_text(f'{{"pid": {process.pid}, "pgid": {process.pid}, "url": "http://x"}}')
    yield process
    process.kill()
    process.wait()


def test_removing_everything_ends_the_checkouts_endpoints(
    checkout: Checkout, endpoint: subprocess.Popen[bytes]
) -> None:
    checkout.setup("--only", "pipelines")
    done = checkout.setup("--remove")
    assert done.returncode == 0, done.stderr
    assert endpoint.wait(timeout=10) == -signal.SIGTERM
    left = {path.name for path in checkout.folder.iterdir()}
    assert not left & {".venv", ".venv-serving", ".tuneline"}
    assert "pyproject.toml" in left


def test_a_process_that_is_no_endpoint_is_left_alone(checkout: Checkout) -> None:
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], cwd=checkout.folder)
    try:
        folder = checkout.folder / ".tuneline" / "endpoints" / "a"
        folder.mkdir(parents=True)
        (folder / "endpoint.json").write_text(f'{{"pid": {other.pid}, "pgid": {other.pid}}}')
        checkout.setup("--remove")
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
