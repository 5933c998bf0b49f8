"""The deployer: ZenML's way to endpoints, wherever they run.

There is one endpoint per model, and a new model version is a new release file that the endpoint
sees by itself. So deploying here means: make sure it is alive. Nothing running is
ever replaced, whatever ZenML's flags say. What ZenML's base class does in ``deploy_model`` and
``find_model_server`` is done anew, because in 0.98 the one may return another endpoint's service
(its filter drops the config) and counts failed starts as successes, and the other deletes the
record of a server that is just being started.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import urlsplit
from uuid import UUID

from zenml.client import Client
from zenml.enums import ServiceState
from zenml.model_deployers.base_model_deployer import BaseModelDeployer
from zenml.models.v2.misc.service import ServiceType
from zenml.services import BaseService, ServiceConfig

from stacks.deployer import records
from stacks.deployer.flavor import FLAVOR, BentoVLLMModelDeployerConfig, BentoVLLMModelDeployerFlavor
from stacks.deployer.service import EndpointService, EndpointServiceConfig
from stacks.deployer.targets.elsewhere import Elsewhere
from stacks.deployer.targets.local import Local
from stacks.deployer.targets.target import EndpointInfo, Target
from tuneline.errors import UserError

__all__ = ["BentoVLLMModelDeployer", "EndpointInfo"]


class BentoVLLMModelDeployer(BaseModelDeployer):
    """Keeps endpoints alive in their target. Those of this machine are ZenML services, too."""

    NAME = "BentoML vLLM"
    FLAVOR = BentoVLLMModelDeployerFlavor

    @property
    def config(self) -> BentoVLLMModelDeployerConfig:
        """The component's settings."""
        return cast(BentoVLLMModelDeployerConfig, self._config)

    # ---- What steps and commands call

    @property
    def target(self) -> Target:
        """Where endpoints run, as the component's settings say."""
        config = self.config
        if config.url:
            return Elsewhere(config.url)
        if config.target == "kubernetes":
            from stacks.deployer.targets.kubernetes import Kubernetes

            assert config.kubernetes is not None, "checked by the settings"
            return Kubernetes(config.kubernetes, config.poll_seconds, config.drain_seconds)
        if config.target == "bentocloud":
            from stacks.deployer.targets.bentocloud import BentoCloud

            assert config.bentocloud is not None, "checked by the settings"
            return BentoCloud(config.bentocloud, config.poll_seconds)
        return Local(config)

    @property
    def runs_here(self) -> bool:
        """Whether its endpoints are processes of this machine."""
        return self.config.target == "local" and not self.config.url

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
            UserError: the settings do not fit, the serving environment is missing, or it runs for another folder.
            TunelineError: it did not come up, or cannot apply the release.
        """
        target = self.target
        target.check(folder)
        return target.bring_up(endpoint, folder, wait_for_sequence, timeout or self.config.start_timeout)

    def find_endpoint(self, endpoint: str) -> EndpointInfo | None:
        """The endpoint if it is live."""
        return self.target.find(endpoint)

    def stop_endpoint(self, endpoint: str) -> bool:
        """Stop an endpoint; its releases stay.

        Returns:
            Whether it was running.

        Raises:
            UserError: it is not run by this deployer.
        """
        return self.target.stop(endpoint)

    def endpoint_logs(self, endpoint: str, *, follow: bool, tail: int | None) -> Iterator[str]:
        """Lines of an endpoint's logs, each with its origin in front.

        Raises:
            UserError: it is not run by this deployer.
        """
        return self.target.logs(endpoint, follow=follow, tail=tail)

    def service_config(self, endpoint: str, folder: str) -> EndpointServiceConfig:
        """What is recorded of an endpoint that runs on this machine."""
        return Local(self.config).service_config(endpoint, folder)

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
        if not self.runs_here:
            raise UserError(
                f"the model deployer {self.name!r} does not run its endpoints itself as services of ZenML",
                hint="`python run.py deploy` brings them up where they run.",
            )
        return Local(self.config).ensure(config, timeout or self.config.start_timeout, None)[0]

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
