"""The flavor and its settings. ZenML imports this file wherever the stack is looked at, so it imports little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator
from zenml.model_deployers.base_model_deployer import BaseModelDeployerConfig, BaseModelDeployerFlavor

from stacks.deployer.targets.settings import BentoCloudSettings, KubernetesSettings, TargetName

if TYPE_CHECKING:
    from stacks.deployer.deployer import BentoVLLMModelDeployer

FLAVOR = "bentoml_vllm"


class BentoVLLMModelDeployerConfig(BaseModelDeployerConfig):
    """Settings of the deployer. No secrets: the artifact store's reach the process by its environment."""

    target: TargetName = Field("local", description="Where endpoints run.")
    kubernetes: KubernetesSettings | None = Field(None, description="How they run in a cluster; for that target alone.")
    bentocloud: BentoCloudSettings | None = Field(None, description="How they run there; for that target alone.")
    url: str | None = Field(
        None,
        pattern=r"^https?://",
        description="Where endpoints answer that somebody else runs; {endpoint} in it "
        "stands for the endpoint's name. Nothing is started or stopped here then, releases are only waited for.",
    )
    host: str = Field("127.0.0.1", description="The address that endpoints listen on.")
    port: int = Field(0, ge=0, le=65535, description="0 picks a free port at the first start and keeps it.")
    start_timeout: float = Field(
        900.0, gt=0, description="Seconds until an endpoint has to be live; its first start may download a base model."
    )
    poll_seconds: float = Field(0.2, gt=0, description="How often an endpoint looks for a new release, in seconds.")
    drain_seconds: float = Field(
        30.0, ge=0, description="Seconds that answers under way get when a pod of an endpoint ends."
    )
    environment: list[str] = Field(
        default_factory=list,
        description="Names of further variables that are passed on to the serving process. Names alone, because values "
        "would be stored with the stack.",
    )

    @model_validator(mode="after")
    def _of_one_target(self) -> BentoVLLMModelDeployerConfig:
        if self.url and self.target != "local":
            raise ValueError(f"url is for endpoints that somebody else runs; with target: {self.target} leave it out")
        for name in ("kubernetes", "bentocloud"):
            if (getattr(self, name) is not None) != (self.target == name):
                needed = f"needs a section {name}" if self.target == name else f"has no use for the section {name}"
                raise ValueError(f"target: {self.target} {needed}")
        return self


class BentoVLLMModelDeployerFlavor(BaseModelDeployerFlavor):
    """A BentoML gateway in front of a vLLM engine, as a process on this machine."""

    @property
    def name(self) -> str:
        """Name of the flavor."""
        return FLAVOR

    @property
    def display_name(self) -> str:
        """Name of the flavor in the dashboard."""
        return "BentoML vLLM"

    @property
    def config_class(self) -> type[BentoVLLMModelDeployerConfig]:
        """The deployer's settings."""
        return BentoVLLMModelDeployerConfig

    @property
    def implementation_class(self) -> type[BentoVLLMModelDeployer]:
        """The deployer."""
        from stacks.deployer.deployer import BentoVLLMModelDeployer

        return BentoVLLMModelDeployer
