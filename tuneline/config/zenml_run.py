"""Section ``zenml``: ZenML's own run configuration, with its misspellings caught.

ZenML ignores unknown keys silently, so a misspelled ``settigns`` costs a GPU hour before anyone
looks. The names are written down here, because the library does not import ZenML; a test compares
them with ZenML's own.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from tuneline.config.section import Section

# What ZenML would take but the experiment decides: values come from the config's other sections.
OURS = {
    "parameters": "the pipelines' parameters come from the other sections of this config",
    "model": "the ZenML model is the config's top-level name",
}


class _RunKeys(Section):
    """What can be said of a whole run and of one step."""

    enable_cache: bool | None = None
    """Take outputs of an earlier, unchanged step instead of running it."""

    enable_artifact_metadata: bool | None = None
    """Read metadata off the artifacts."""

    enable_artifact_visualization: bool | None = None
    """Make the pages that the dashboard shows for an artifact."""

    enable_step_logs: bool | None = None
    """Keep the steps' logs in the artifact store."""

    settings: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Settings of stack components by their key: ``resources``, ``docker``, ``orchestrator.kubernetes`` …"""

    environment: dict[str, str] = Field(default_factory=dict)
    """Environment variables. They are stored in plain text: secrets belong into ``secrets``."""

    secrets: tuple[str, ...] = ()
    """Names of ZenML secrets whose values become environment variables."""

    extra: dict[str, Any] = Field(default_factory=dict)
    """Anything that should be found with the run later."""

    retry: dict[Literal["max_retries", "delay", "backoff"], int] | None = None
    """How often and after how many seconds a failed step is run again."""

    substitutions: dict[str, str] = Field(default_factory=dict)
    """Values for placeholders in names."""

    cache_policy: str | dict[str, Any] | None = None
    """What a step's cache key is made of: ``default``, ``no_code``, or a mapping."""

    start_hook_source: str | None = None
    """A function (``module.name``) called before a step."""

    end_hook_source: str | None = None
    """A function called after a step, whatever came of it."""

    success_hook_source: str | None = None
    """A function called after a step that succeeded."""

    failure_hook_source: str | None = None
    """A function called after a step that failed."""


class ZenMLStep(_RunKeys):
    """Configuration of one step."""

    step_operator: bool | str | None = None
    """Where the step runs, e.g. a GPU cloud: a step operator of the stack, or true for its only one."""

    experiment_tracker: bool | str | None = None
    """Which experiment tracker of the stack the step writes to."""

    runtime: Literal["inline", "isolated"] | None = None
    """In the orchestration's process, or in one of its own (dynamic pipelines)."""

    heartbeat_healthy_threshold: int | None = Field(default=None, ge=10, le=60)
    """Minutes without a heartbeat after which the step counts as lost."""

    group: dict[str, Any] | None = None
    """The group the dashboard draws the step in."""

    outputs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Materializers of single outputs."""


class ZenMLConfig(_RunKeys):
    """Configuration of the pipelines' runs: names are ZenML's."""

    run_name: str | None = None
    """A name for the run; ``{date}`` and ``{time}`` are filled in. It must be new for every run."""

    steps: dict[str, ZenMLStep] = Field(default_factory=dict)
    """Configuration of single steps, by name."""

    tags: tuple[str, ...] = ()
    """Tags of the run."""

    enable_pipeline_logs: bool | None = None
    """Keep the orchestration's own logs."""

    enable_heartbeat: bool | None = None
    """Let steps report that they are alive."""

    execution_mode: Literal["fail_fast", "stop_on_failure", "continue_on_failure"] | None = None
    """What becomes of the other steps when one fails."""

    schedule: dict[str, Any] | None = None
    """When to run by itself, for orchestrators that can: ``{cron_expression: "0 3 * * *"}``."""

    build: str | None = None
    """Id of a container build to use instead of a new one."""

    init_hook_source: str | None = None
    """A function called once before the run."""

    init_hook_kwargs: dict[str, Any] | None = None
    """Its arguments."""

    cleanup_hook_source: str | None = None
    """A function called once after the run."""

    pause_hook_source: str | None = None
    """A function called when the run pauses."""

    resume_hook_source: str | None = None
    """A function called when it goes on."""

    def run_configuration(self) -> dict[str, Any]:
        """What was set, in the form that ZenML's run configuration takes; nothing else is in it."""
        return self.model_dump(mode="json", exclude_defaults=True)
