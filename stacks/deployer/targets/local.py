"""Endpoints as processes of this machine, each with a record in ZenML."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from zenml.client import Client
from zenml.logger import get_logger

from stacks.deployer import process, records, start
from stacks.deployer.flavor import BentoVLLMModelDeployerConfig
from stacks.deployer.service import STOP_SECONDS, EndpointService, EndpointServiceConfig
from stacks.deployer.targets.target import EndpointInfo
from tuneline.errors import TunelineError
from tuneline.paths import endpoint_workdir

logger = get_logger(__name__)


class Local:
    """Keeps one serving process per endpoint alive."""

    def __init__(self, config: BentoVLLMModelDeployerConfig) -> None:
        self._config = config

    def check(self, folder: str) -> None:
        """Ports and environments are looked at when an endpoint is started."""

    def bring_up(self, endpoint: str, folder: str, sequence: int | None, timeout: float) -> EndpointInfo:
        """Start the process unless it runs. What this call started is ended again if anything goes wrong."""
        deadline = time.monotonic() + timeout
        config = self.service_config(endpoint, folder)
        started = self.ensure(config, timeout, sequence)[1]
        if sequence is not None:
            start.wait_for_release(config.plan, sequence, deadline - time.monotonic())
        found = self.find(endpoint)
        if found is None:
            raise TunelineError(f"the endpoint {endpoint!r} ended right after its start", hint=f"See {config.workdir}.")
        return EndpointInfo(url=found.url, pid=found.pid, started=started)

    def find(self, endpoint: str) -> EndpointInfo | None:
        """The endpoint, looked up at the process itself."""
        serving = process.find(endpoint_workdir(endpoint))
        if serving is None or serving.url is None:
            return None
        return EndpointInfo(url=serving.url, pid=serving.pid, started=False)

    def stop(self, endpoint: str) -> bool:
        """Stop it with all that belongs to it; its port is kept for the next start."""
        workdir = endpoint_workdir(endpoint)
        running = process.find(workdir) is not None
        for record in records.of_endpoint(endpoint, str(workdir)):
            record.stop()
            records.save(record)
        process.stop(workdir, grace=STOP_SECONDS)  # one that has no record in this ZenML store
        return running

    def logs(self, endpoint: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Lines of the launcher's, the gateway's and the engine's log, also of one that has ended."""
        return process.follow_logs(endpoint_workdir(endpoint), follow=follow, tail=tail)

    def service_config(self, endpoint: str, folder: str) -> EndpointServiceConfig:
        """What is recorded of an endpoint."""
        return EndpointServiceConfig(
            name=endpoint,
            model_name=endpoint,
            endpoint=endpoint,
            folder=folder,
            workdir=str(endpoint_workdir(endpoint)),
            host=self._config.host,
            port=self._config.port,
            poll_seconds=self._config.poll_seconds,
            start_timeout=self._config.start_timeout,
            environment=self._config.environment,
        )

    def ensure(
        self, config: EndpointServiceConfig, timeout: float, sequence: int | None
    ) -> tuple[EndpointService, bool]:
        """The endpoint's service, live, and whether this started it (then ``sequence`` has been applied, too)."""
        with process.exclusive(Path(config.workdir), timeout):
            older = records.of_endpoint(config.endpoint, config.workdir)
            alive = process.find(Path(config.workdir)) is not None
            # A record cannot be changed in ZenML, so other settings need another one. What runs keeps its own.
            service = next((record for record in older if alive or record.config == config), None)
            created = service is None
            if service is None:
                service = records.create(config)
            try:
                started = service.bring_up(timeout, sequence)
                records.save(service)
            except BaseException:
                if created:
                    Client().delete_service(service.uuid)
                else:
                    records.save(service)
                raise
            for record in older:
                if record.uuid != service.uuid:
                    Client().delete_service(record.uuid)
            logger.info("The endpoint %s %s: %s", config.endpoint, "was started" if started else "is live", service.url)
            return service, started
