"""ZenML's record of an endpoint on one machine, and what can be done with it.

A ``BaseDeploymentService`` and not ZenML's ``LocalDaemonService``: that one runs the server inside a ZenML process
(10 s of imports), which goes on serving after SIGTERM, signals direct children alone and picks a second port.
"""

from __future__ import annotations

import socket
from collections.abc import Generator
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from zenml.artifact_stores import BaseArtifactStore
from zenml.enums import ServiceState, StackComponentType
from zenml.models.v2.misc.service import ServiceType
from zenml.services import (
    BaseServiceEndpoint,
    ServiceConfig,
    ServiceEndpointConfig,
    ServiceEndpointProtocol,
    ServiceEndpointStatus,
    ServiceStatus,
)
from zenml.services.service import BaseDeploymentService

from stacks.active import active_component
from stacks.deployer import process, start
from stacks.deployer.flavor import FLAVOR
from stacks.deployer.readiness import answers
from stacks.storage import storage_environment
from tuneline.errors import UserError
from tuneline.release.document import ENDPOINT_NAME

STOP_SECONDS = 60  # for the requests that are running, then it is killed


class EndpointServiceConfig(ServiceConfig):
    """What is recorded of an endpoint. ZenML stores it as plain text and logs it: no secrets.

    Attributes:
        endpoint: its name.
        folder: URI of its folder in the artifact store.
        machine: the host on which it runs; nobody else can look at the process.
        workdir: where its records and logs lie on that host.
        host: the address it listens on.
        port: 0 for any free one.
        poll_seconds: how often it looks for a new release.
        start_timeout: seconds until it has to be live.
        environment: names of further variables that it gets.
    """

    endpoint: str = Field(pattern=ENDPOINT_NAME)
    folder: str
    workdir: str
    machine: str = Field(default_factory=socket.gethostname)
    host: str = "127.0.0.1"
    port: int = 0
    poll_seconds: float = 0.2
    start_timeout: float = 900.0
    environment: list[str] = Field(default_factory=list)

    @field_validator("folder")
    @classmethod
    def _without_credentials(cls, folder: str) -> str:
        if "@" in urlsplit(folder).netloc:
            raise ValueError("the folder's URI has credentials in it; give them to the artifact store's component")
        return folder.rstrip("/")

    @property
    def plan(self) -> start.Plan:
        """How its process is started."""
        return start.Plan(
            endpoint=self.endpoint,
            folder=self.folder,
            workdir=Path(self.workdir),
            host=self.host,
            port=self.port,
            poll_seconds=self.poll_seconds,
        )


class EndpointServiceStatus(ServiceStatus):
    """What was last seen of it.

    Attributes:
        pid: its process.
    """

    pid: int | None = None


class EndpointService(BaseDeploymentService):
    """An endpoint: one serving process on one machine."""

    SERVICE_TYPE = ServiceType(
        type="model-serving",
        flavor=FLAVOR,
        name="tuneline endpoint",
        description="BentoML gateway in front of a vLLM engine",
    )

    config: EndpointServiceConfig
    status: EndpointServiceStatus = Field(default_factory=EndpointServiceStatus)
    endpoint: BaseServiceEndpoint | None = None

    @property
    def is_here(self) -> bool:
        """Whether it runs on this machine."""
        return self.config.machine == socket.gethostname()

    def check_status(self) -> tuple[ServiceState, str]:
        """Look at the process itself, so a crash is seen at once.

        Returns:
            The state, and what is wrong with it.
        """
        if not self.is_here:
            return self.status.state, f"it runs on {self.config.machine}, this was seen last"
        serving = process.find(Path(self.config.workdir))
        self.status.pid = serving.pid if serving else None
        if serving is None:
            if self.admin_state == ServiceState.ACTIVE:
                tail = process.log_tail(Path(self.config.workdir), lines=5)
                return ServiceState.ERROR, f"the process ended without having been stopped\n{tail}".rstrip()
            return ServiceState.INACTIVE, ""
        if serving.url is None:
            return ServiceState.PENDING_STARTUP, ""
        self.note_address(serving.url)
        self.admin_state = ServiceState.ACTIVE  # also when its starter was killed before it could say so
        if not answers(serving.url):
            return ServiceState.ERROR, f"process {serving.pid} runs, but gives no answer at {serving.url}/livez"
        return ServiceState.ACTIVE, ""

    def note_address(self, url: str) -> None:
        """Record the address that the process itself named: it alone picks the port."""
        parts = urlsplit(url)
        self.endpoint = BaseServiceEndpoint(
            admin_state=ServiceState.ACTIVE,
            config=ServiceEndpointConfig(name=self.config.endpoint),
            status=ServiceEndpointStatus(
                state=ServiceState.ACTIVE,
                protocol=ServiceEndpointProtocol(parts.scheme),
                hostname=parts.hostname,
                port=parts.port,
            ),
        )

    def bring_up(self, timeout: float, sequence: int | None = None) -> bool:
        """Start it unless it runs; the caller holds ``process.exclusive``.

        Args:
            timeout: seconds until it has to be live.
            sequence: if this starts it, also wait for this release.

        Returns:
            Whether this call started it.

        Raises:
            TunelineError: it did not come up; nothing of it is running.
        """
        self._check_here()
        # Credentials are looked up now and handed over by environment; nothing of them is kept.
        store = active_component(StackComponentType.ARTIFACT_STORE)
        assert isinstance(store, BaseArtifactStore), "ZenML has no stack without an artifact store"
        environment = start.serving_environment(self.config.environment, storage_environment(store))
        try:
            serving, started = start.bring_up(self.config.plan, environment, timeout=timeout, sequence=sequence)
        except BaseException as error:
            if process.find(Path(self.config.workdir)) is None:
                self.admin_state = ServiceState.INACTIVE
                self.status.pid = None
                self.status.update_state(ServiceState.ERROR, str(error) or type(error).__name__)
            raise
        self.admin_state = ServiceState.ACTIVE
        self.status.pid = serving.pid
        self.status.clear_error()
        self.status.update_state(ServiceState.ACTIVE)
        self.note_address(serving.url or "")
        return started

    def start(self, timeout: int = 0) -> None:
        """Start it and wait until it is live. ZenML's own ``start`` takes a failure for a success; this one raises.

        Args:
            timeout: seconds until it has to be live; 0 takes the deployer's ``start_timeout``.
        """
        seconds = timeout or self.config.start_timeout
        with process.exclusive(Path(self.config.workdir), seconds):
            self.bring_up(seconds)

    def stop(self, timeout: int = 0, force: bool = False) -> None:
        """Stop it with all that it started, and wait for their end.

        Args:
            timeout: seconds for its running requests, then it is killed; 0 takes a minute.
            force: kill it at once.
        """
        self._check_here()
        process.stop(Path(self.config.workdir), grace=0 if force else timeout or STOP_SECONDS)
        self.admin_state = ServiceState.INACTIVE
        self.status.pid = None
        self.status.clear_error()
        self.status.update_state(ServiceState.INACTIVE)

    def provision(self) -> None:
        """Start it; ZenML's name for it."""
        self.start()

    def deprovision(self, force: bool = False) -> None:
        """Stop it; ZenML's name for it."""
        self.stop(force=force)

    def get_logs(self, follow: bool = False, tail: int | None = None) -> Generator[str, bool, None]:
        """Lines of the launcher's, the gateway's and the engine's log, each with the log's name in front.

        Args:
            follow: go on with what is written from now on, until the process ends.
            tail: only so many lines of each.
        """
        self._check_here()
        return process.follow_logs(Path(self.config.workdir), follow=follow, tail=tail)

    @property
    def url(self) -> str | None:
        """Where it answers, e.g. ``http://127.0.0.1:4711``."""
        return self.endpoint.status.uri if self.endpoint else None

    @property
    def prediction_url(self) -> str | None:
        """The base URL for an OpenAI client."""
        return f"{self.url}/v1" if self.url else None

    def get_healthcheck_url(self) -> str | None:
        """Where it says whether it is ready."""
        return f"{self.url}/readyz" if self.url else None

    def _check_here(self) -> None:
        if not self.is_here:
            raise UserError(
                f"the endpoint {self.config.endpoint!r} runs on {self.config.machine}, this is {socket.gethostname()}",
                hint=f"Run the command on {self.config.machine}.",
            )
