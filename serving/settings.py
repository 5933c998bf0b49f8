"""What one endpoint is told. It reaches the Bento in the environment, from the launcher or from `bentoml serve`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tuneline.errors import UserError

_PREFIX = "TUNELINE_"


@dataclass(frozen=True)
class Settings:
    """One endpoint.

    Attributes:
        endpoint: its name, which is also the model name clients ask for.
        folder: fsspec URI or path of the endpoint's folder (``releases/`` and ``keys.json`` are below it).
        workdir: local folder for logs, caches and ``endpoint.json``.
        poll_seconds: how often the folder is looked at.
        drain_seconds: what answers under way get once the endpoint is told to stop.
        standby: keep a second process that has imported vLLM already and takes over when the engine ends.
        engine_command: put in the place of ``python -m serving.engine.vllm_server``; for tests.
    """

    endpoint: str
    folder: str
    workdir: Path
    poll_seconds: float = 0.2
    drain_seconds: float = 30.0
    standby: bool = True
    engine_command: tuple[str, ...] | None = None

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Settings:
        """Read ``TUNELINE_ENDPOINT``, ``_FOLDER``, ``_WORKDIR`` and so on; ``_STANDBY`` is on or off.

        Raises:
            UserError: one of the first three is missing.
        """
        missing = [_PREFIX + key for key in ("ENDPOINT", "FOLDER", "WORKDIR") if not env.get(_PREFIX + key)]
        if missing:
            raise UserError(
                f"the endpoint does not know what to serve: {', '.join(missing)} not set",
                hint="Start it with `python -m serving --endpoint NAME --folder URI --workdir DIR`, or set them.",
            )
        command = env.get(_PREFIX + "ENGINE_COMMAND")
        return cls(
            endpoint=env[_PREFIX + "ENDPOINT"],
            folder=env[_PREFIX + "FOLDER"],
            workdir=Path(env[_PREFIX + "WORKDIR"]),
            poll_seconds=float(env.get(_PREFIX + "POLL_SECONDS", "0.2")),
            drain_seconds=float(env.get(_PREFIX + "DRAIN_SECONDS", "30")),
            standby=env.get(_PREFIX + "STANDBY", "on") != "off",
            engine_command=tuple(json.loads(command)) if command else None,
        )

    def to_environment(self) -> dict[str, str]:
        """The variables that ``from_environment`` reads."""
        env = {
            _PREFIX + "ENDPOINT": self.endpoint,
            _PREFIX + "FOLDER": self.folder,
            _PREFIX + "WORKDIR": str(self.workdir),
            _PREFIX + "POLL_SECONDS": str(self.poll_seconds),
            _PREFIX + "DRAIN_SECONDS": str(self.drain_seconds),
            _PREFIX + "STANDBY": "on" if self.standby else "off",
        }
        if self.engine_command is not None:
            env[_PREFIX + "ENGINE_COMMAND"] = json.dumps(self.engine_command)
        return env
