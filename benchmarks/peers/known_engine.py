"""vLLM as the gateway starts it, except that it says where it listens and which key it takes.

The engine's socket and key are made for each run and told to nobody. A benchmark that asks the same process without the
gateway between puts this file in the place of the engine's command (``Settings.engine_command``).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

WHERE = "TUNELINE_BENCHMARK_ENGINE"  # the file that is written: {"socket", "key"}

if __name__ == "__main__":
    socket = Path(sys.argv[sys.argv.index("--uds") + 1]).absolute()
    Path(os.environ[WHERE]).write_text(json.dumps({"socket": str(socket), "key": os.environ["VLLM_API_KEY"]}))
    os.execv(sys.executable, [sys.executable, "-m", "serving.engine.vllm_server", *sys.argv[1:]])  # noqa: S606
