"""Settings of the targets, as a stack file has them. Names of secrets alone: values would be stored with the stack."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

TargetName = Literal["local", "kubernetes", "bentocloud"]


class KubernetesSettings(BaseModel):
    """One Deployment per endpoint with what belongs to it.

    Attributes:
        image: what ``bentoml containerize`` or ``docker build`` made of the Bento, with its tag.
        namespace: it exists already, with its secrets.
        context: of the kubeconfig; None takes the current one. A pod takes its own cluster by its service account.
        url: where clients reach an endpoint, e.g. an ingress; {endpoint} stands for its name. None is its Service,
            whose name only pods can resolve.
        replicas: pods, each with an engine of its own.
        max_replicas: more than ``replicas`` makes a HorizontalPodAutoscaler.
        scale_metric: pods' metric it follows, as the cluster's metrics adapter names it.
        scale_at: the average per pod at which it adds one.
        gpus: ``nvidia.com/gpu`` per pod; 0 for an image with the CPU engine.
        cpu: CPUs per pod, as Kubernetes writes them.
        memory: per pod.
        shared_memory: size of /dev/shm, through which the engine's processes talk; it counts as memory.
        disk: for base model, adapters and caches. It is empty at a pod's start.
        secrets: names of Secrets whose keys become variables, e.g. the storage's AWS_ACCESS_KEY_ID or a hub token.
        service_account_annotations: e.g. the cloud role that lets pods read the bucket without any secret.
        image_pull_secrets: names.
        node_selector: labels that a node must have.
        tolerations: taints of nodes that do not matter, e.g. those of GPU nodes.
    """

    model_config = ConfigDict(extra="forbid")

    image: str = Field(min_length=1)
    namespace: str = "default"
    context: str | None = None
    url: str | None = Field(None, pattern=r"^https?://")
    replicas: int = Field(1, ge=1)
    max_replicas: int | None = Field(None, ge=1)
    scale_metric: str = "vllm_num_requests_waiting"
    scale_at: float = Field(4, gt=0)
    gpus: int = Field(1, ge=0)
    cpu: str = "4"
    memory: str = "16Gi"
    shared_memory: str = "2Gi"
    disk: str = "50Gi"
    secrets: list[str] = Field(default_factory=list)
    service_account_annotations: dict[str, str] = Field(default_factory=dict)
    image_pull_secrets: list[str] = Field(default_factory=list)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)

    @model_validator(mode="after")
    def _in_order(self) -> KubernetesSettings:
        if self.max_replicas is not None and self.max_replicas < self.replicas:
            raise ValueError(f"max_replicas is {self.max_replicas}, less than the {self.replicas} replicas")
        return self


class BentoCloudSettings(BaseModel):
    """One BentoCloud deployment per endpoint.

    Attributes:
        instance_type: e.g. ``gpu.l4.1``; `bentoml deployment list-instance-types` shows them.
        cluster: BentoCloud's; None is the organization's first.
        scaling_min: pods at least; 0 would make the first question after a quiet hour wait for an engine.
        scaling_max: pods at most.
        secrets: names of BentoCloud secrets that become variables, e.g. the storage's credentials.
        access_authorization: whether BentoCloud asks for its own token, too. Every request needs the endpoint's key
            anyway, and OpenAI's client can send only one of the two.
    """

    model_config = ConfigDict(extra="forbid")

    instance_type: str = Field(min_length=1)
    cluster: str | None = None
    scaling_min: int = Field(1, ge=0)
    scaling_max: int = Field(1, ge=1)
    secrets: list[str] = Field(default_factory=list)
    access_authorization: bool = False
