"""The deployer: ZenML's way to the endpoints of this machine.

There is one serving process per endpoint, and a new model version is a new release file that the
process sees by itself. So deploying here means: make sure the process is alive. Nothing running is
ever replaced, whatever ZenML's flags say. What ZenML's base class does in ``deploy_model`` and
``find_model_server`` is done anew, because in 0.98 the one may return another endpoint's service
(its filter drops the config) and counts failed starts as successes, and the other deletes the
record of a server that is just being started.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from zenml.client import Client
from zenml.enums import ServiceState
from zenml.logger import get_logger
from zenml.model_deployers.base_model_deployer import BaseModelDeployer
from zenml.models.v2.misc.service import ServiceType
from zenml.services import BaseService, ServiceConfig

from stacks.deployer import process, records, start
from stacks.deployer.flavor import FLAVOR, BentoVLLMModelDeployerConfig, BentoVLLMModelDeployerFlavor
from stacks.deployer.readiness import answers, await_release
from stacks.deployer.service import STOP_SECONDS, EndpointService, EndpointServiceConfig
from tuneline.errors import TunelineError, UserError
from tuneline.paths import endpoint_workdir

logger = get_logger(__name__)


@dataclass(frozen=True)
class EndpointInfo:
    """An endpoint that is live.

    Attributes:
        url: where it answers, without ``/v1``.
        pid: its process on this machine; None if it is not run by this deployer.
        started: whether the call that returned this started it.
    """

    url: str
    pid: int | None
    started: bool


class BentoVLLMModelDeployer(BaseModelDeployer):
    """Keeps one serving process per endpoint alive on this machine."""

    NAME = "BentoML vLLM"
    FLAVOR = BentoVLLMModelDeployerFlavor

    @property
    def config(self) -> BentoVLLMModelDeployerConfig:
        """The component's settings."""
        return cast(BentoVLLMModelDeployerConfig, self._config)

    # ---- What steps and commands call

    def ensure_live(
        self, endpoint: str, folder: str, wait_for_sequence: int | None = None, timeout: float | None = None
    ) -> EndpointInfo:
        """Make sure that an endpoint runs; start it if it does not.

        Args:
            endpoint: its name.
            folder: URI of its folder in the artifact store.
            wait_for_sequence: also wait until it has applied this release or a later one.
            timeout: seconds for all of it; None takes the component's ``start_timeout``.

        Raises:
            UserError: the port is taken, the serving environment is missing, or it runs for another folder.
            TunelineError: it did not come up, or cannot apply the release. What this call started is ended again.
        """
        deadline = time.monotonic() + (timeout or self.config.start_timeout)
        if self.config.url:
            url = self._elsewhere(endpoint)
            if wait_for_sequence is not None:
                await_release(endpoint, lambda: url, wait_for_sequence, deadline - time.monotonic())
            elif not answers(url):
                raise TunelineError(f"nobody answers at {url}", hint=f"Start the endpoint {endpoint!r} where it runs.")
            return EndpointInfo(url=url, pid=None, started=False)
        config = self.service_config(endpoint, folder)
        started = self._ensure(config, deadline - time.monotonic(), wait_for_sequence)[1]
        if wait_for_sequence is not None:
            start.wait_for_release(config.plan, wait_for_sequence, deadline - time.monotonic())
        found = self.find_endpoint(endpoint)
        if found is None:
            raise TunelineError(f"the endpoint {endpoint!r} ended right after its start", hint=f"See {config.workdir}.")
        return EndpointInfo(url=found.url, pid=found.pid, started=started)

    def find_endpoint(self, endpoint: str) -> EndpointInfo | None:
        """The endpoint if it is live on this machine, looked up at the process itself."""
        if self.config.url:
            url = self._elsewhere(endpoint)
            return EndpointInfo(url=url, pid=None, started=False) if answers(url) else None
        serving = process.find(endpoint_workdir(endpoint))
        if serving is None or serving.url is None:
            return None
        return EndpointInfo(url=serving.url, pid=serving.pid, started=False)

    def stop_endpoint(self, endpoint: str) -> bool:
        """Stop an endpoint on this machine with all that belongs to it; its port is kept for the next start.

        Returns:
            Whether it was running.

        Raises:
            UserError: it is not run by this deployer.
        """
        self._check_own()
        workdir = endpoint_workdir(endpoint)
        running = process.find(workdir) is not None
        for record in records.of_endpoint(endpoint, str(workdir)):
            record.stop()
            records.save(record)
        process.stop(workdir, grace=STOP_SECONDS)  # one that has no record in this ZenML store
        return running

    def endpoint_logs(self, endpoint: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Lines of an endpoint's logs on this machine, running or not, each with the log's name in front.

        Raises:
            UserError: it is not run by this deployer.
        """
        self._check_own()
        return process.follow_logs(endpoint_workdir(endpoint), follow=follow, tail=tail)

    def service_config(self, endpoint: str, folder: str) -> EndpointServiceConfig:
        """What is recorded of an endpoint that this deployer starts."""
        return EndpointServiceConfig(
            name=endpoint,
            model_name=endpoint,
            endpoint=endpoint,
            folder=folder,
            workdir=str(endpoint_workdir(endpoint)),
            host=self.config.host,
            port=self.config.port,
            poll_seconds=self.config.poll_seconds,
            start_timeout=self.config.start_timeout,
            environment=self.config.environment,
        )

    def _elsewhere(self, endpoint: str) -> str:
        return (self.config.url or "").replace("{endpoint}", endpoint).rstrip("/")

    def _check_own(self) -> None:
        if self.config.url:
            raise UserError(
                f"the model deployer {self.name!r} does not run its endpoints itself, they answer at {self.config.url}",
                hint="Start and stop them where they run (for Kubernetes: `kubectl scale deployment`).",
            )

    # ---- ZenML's interface

    def deploy_model(
        self,
        config: ServiceConfig,
        service_type: ServiceType = EndpointService.SERVICE_TYPE,
        replace: bool = False,
        continuous_deployment_mode: bool = False,
        timeout: int = 0,
    ) -> BaseService:
        """Make sure that the endpoint of ``config`` runs.

        Args:
            config: an ``EndpointServiceConfig``.
            service_type: the one there is.
            replace: without effect, as is ``continuous_deployment_mode``: a live endpoint takes new versions by itself
                and is never taken down for one.
            timeout: seconds until it has to be live; 0 takes the component's ``start_timeout``.
        """
        if not isinstance(config, EndpointServiceConfig) or service_type != EndpointService.SERVICE_TYPE:
            raise TypeError(
                f"the {FLAVOR} deployer deploys what its service_config() makes, not {type(config).__name__}"
            )
        self._check_own()
        return self._ensure(config, timeout or self.config.start_timeout, None)[0]

    def perform_deploy_model(self, id: UUID, config: ServiceConfig, timeout: int = 0) -> BaseService:  # noqa: A002
        """Start the process of a record that exists."""
        service = records.load(Client().get_service(id))
        service.start(timeout)
        return service

    def perform_start_model(self, service: BaseService, timeout: int = 0) -> BaseService:
        """Start a stopped endpoint, and see it live."""
        service.start(timeout)
        return service

    def perform_stop_model(self, service: BaseService, timeout: int = 0, force: bool = False) -> BaseService:
        """Stop an endpoint with its process tree, and see it gone."""
        service.stop(timeout, force)
        return service

    def perform_delete_model(self, service: BaseService, timeout: int = 0, force: bool = False) -> None:
        """Stop an endpoint for good."""
        service.stop(timeout, force)

    def find_model_server(
        self,
        config: dict[str, Any] | None = None,
        running: bool | None = None,
        service_uuid: UUID | None = None,
        pipeline_name: str | None = None,
        pipeline_step_name: str | None = None,
        service_name: str | None = None,
        model_name: str | None = None,
        model_version: str | None = None,
        service_type: ServiceType | None = None,
        type: str | None = None,  # noqa: A002
        flavor: str | None = None,
        pipeline_run_id: str | None = None,
    ) -> list[BaseService]:
        """The recorded endpoints that match all that is given, newest first, each with its state of this moment.

        Looking changes nothing but the recorded state: no record is deleted.

        Args:
            config: keys and values that the endpoint's config has to have.
            running: only those that are live; False asks for all, as ZenML's command line does.
            model_name: the endpoint's name.
        """
        kind = service_type or ServiceType(
            type=type or EndpointService.SERVICE_TYPE.type, flavor=flavor or EndpointService.SERVICE_TYPE.flavor
        )
        if (kind.type, kind.flavor) != (EndpointService.SERVICE_TYPE.type, EndpointService.SERVICE_TYPE.flavor):
            return []
        wanted = dict(config or {}) | {
            key: value
            for key, value in {
                "pipeline_name": pipeline_name,
                "pipeline_step_name": pipeline_step_name,
                "service_name": service_name,
                "model_name": model_name,
                "model_version": model_version,
            }.items()
            if value
        }
        found: list[BaseService] = []
        for response in records.responses(id=service_uuid, pipeline_run_id=pipeline_run_id):
            if not wanted.items() <= response.config.items():
                continue
            service = records.load(response)
            service.update_status()
            if service.status.model_dump() != response.status:
                records.save(service)
            if not running or service.status.state == ServiceState.ACTIVE:
                found.append(service)
        return found

    @staticmethod
    def get_model_server_info(service: BaseService) -> dict[str, str | None]:
        """What ``zenml model-deployer models describe`` shows."""
        endpoint = cast(EndpointService, service)
        address = urlsplit(endpoint.url or "")
        return {
            "ENDPOINT": endpoint.config.endpoint,
            "PREDICTION_URL": endpoint.prediction_url,
            "PREDICTION_HOSTNAME": address.hostname,
            "PREDICTION_APIS_URLS": endpoint.prediction_url,
            "HEALTH_CHECK_URL": endpoint.get_healthcheck_url(),
            "FOLDER": endpoint.config.folder,
            "MACHINE": endpoint.config.machine,
            "PID": str(endpoint.status.pid) if endpoint.status.pid else None,
            "LOGS": endpoint.config.workdir,
        }

    # ---- Both

    def _ensure(
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
