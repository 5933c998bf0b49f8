"""ZenML's records of endpoints: made, found, kept up to date.

Every record has its ``service_source`` from the start. ZenML sets it only after a deploy, and deletes
records without one wherever it lists services, so a listing meanwhile would orphan the server.
"""

from __future__ import annotations

import contextlib
from typing import Any, cast

from zenml.client import Client
from zenml.enums import ServiceState
from zenml.models import ServiceRequest, ServiceResponse
from zenml.utils.pagination_utils import depaginate

from stacks.deployer.service import EndpointService, EndpointServiceConfig, EndpointServiceStatus

_SOURCE = f"{EndpointService.__module__}.{EndpointService.__qualname__}"


def create(config: EndpointServiceConfig) -> EndpointService:
    """Record an endpoint that is about to be started."""
    response = Client().zen_store.create_service(
        ServiceRequest(
            name=config.service_name,
            service_type=EndpointService.SERVICE_TYPE,
            service_source=_SOURCE,
            admin_state=ServiceState.INACTIVE,
            config=config.model_dump(),
            status=EndpointServiceStatus(state=ServiceState.PENDING_STARTUP).model_dump(),
            project=Client().active_project.id,
        )
    )
    return load(response)


def of_endpoint(endpoint: str, workdir: str) -> list[EndpointService]:
    """This machine's records of an endpoint, newest first. Matched here, for ZenML's filter drops the config."""
    services = (load(response) for response in responses())
    return [s for s in services if s.is_here and (s.config.endpoint, s.config.workdir) == (endpoint, workdir)]


def responses(**filters: Any) -> list[ServiceResponse]:
    """All records of this flavor, newest first, narrowed down by what ``Client.list_services`` takes."""
    kind = EndpointService.SERVICE_TYPE
    found = depaginate(
        Client().list_services, sort_by="desc:created", type=kind.type, flavor=kind.flavor, hydrate=True, **filters
    )
    return [response for response in found if response.service_source == _SOURCE]


def load(response: ServiceResponse) -> EndpointService:
    """The service that a record describes."""
    return cast(EndpointService, EndpointService.from_model(response))


def save(service: EndpointService) -> None:
    """Bring a record up to date. Its config stays: ZenML cannot change that."""
    # Somebody may have deleted the record while it was looked at.
    with contextlib.suppress(KeyError):
        Client().update_service(
            id=service.uuid,
            service_source=_SOURCE,
            admin_state=service.admin_state,
            status=service.status.model_dump(),
            endpoint=service.endpoint.model_dump() if service.endpoint else None,
            prediction_url=service.prediction_url,
            health_check_url=service.get_healthcheck_url(),
        )
