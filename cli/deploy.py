"""``run.py deploy`` and ``run.py stop``."""

from __future__ import annotations

from pathlib import Path

from cli.preflight import check_endpoint
from cli.screen import say
from cli.workplace import checked_config, use_stack
from tuneline.config import Config
from tuneline.errors import UserError


def run_deploy(path: Path | None, stack: str | None, overrides: list[str], *, no_cache: bool) -> None:
    """Release the staged version, or make sure that production is up."""
    config = checked_config(path, overrides)
    use_stack(stack)
    url = deployed(config, prove_again=no_cache)
    if url is None:
        return
    say(f"Endpoint: [bold]{url}/v1[/bold], model name [bold]{config.name}[/bold]")
    say('Next: [bold]python run.py ask "list the pods in namespace web"[/bold]')


def deployed(config: Config, *, prove_again: bool = False) -> str | None:
    """Put the staged version into production, or bring up what is there already.

    Returns:
        The endpoint's address; None if the staged version waits for its approval and there is no other one.

    Raises:
        UserError: there is neither a staged version nor one in production.
    """
    from controlplane.challenger import canary_of
    from controlplane.endpoint import make_live
    from controlplane.follow import settle
    from controlplane.settings import follow_settings
    from controlplane.storage import active_storage
    from controlplane.versions import at_stage

    storage = active_storage()
    settle(config.name, storage)  # an interrupted command may have left the stage behind
    staged = at_stage(config.name, "staging")
    releases = storage.releases(config.name)
    challenger = canary_of(releases.current())
    waits = staged is not None and (challenger is not None or config.gate.approval == "by_hand")
    if challenger is not None:
        say_that_a_canary_runs(challenger, staged.name if staged else None)
    elif staged is not None and waits:
        say_that_it_waits(staged.name)
    elif staged is not None:
        release_version(config, staged.name, f"passed the gate: {staged.record.sentence}")
    idle = staged is None or challenger is not None
    if prove_again and idle and (champion := at_stage(config.name, "production")) is not None:
        release_version(config, champion.name, "proven again by hand")
    if changed := follow_settings(config.name, storage, config.serving.gateway, config.serving.canary):
        say(f"Release {changed.sequence}: {changed.reason}. The engine goes on.")
    current = releases.current()
    if current is None or current.routes.production is None:
        if waits:
            return None
        raise UserError(
            f"there is nothing to deploy: no version of {config.name!r} is at stage staging or production",
            hint=f"`python run.py train` makes one; `python run.py models` shows what {config.name!r} has.",
        )
    check_endpoint(config)
    client, started = make_live(config.name, storage, current.sequence, config.serving.start_timeout)
    if staged is None or waits:
        version = current.adapters[current.routes.production].model_version
        say(f"Version {version} is in production, and {'its endpoint was started' if started else 'live'}.")
    return client.url


def say_that_it_waits(version: str) -> None:
    """Say who goes on: a person, with a reason."""
    say(f"Version {version} passed the gate, is staged and waits for approval (gate.approval is by_hand).")
    say(f"Look at it: [bold]python run.py models {version}[/bold]")
    say(f'Approve it: [bold]python run.py promote {version} --reason "…"[/bold]')


def say_that_a_canary_runs(challenger: str, staged: str | None) -> None:
    """Say that deploying moves no traffic while two versions are being compared, and who decides."""
    say(f"A canary of version {challenger} is running: [bold]python run.py canary[/bold] shows how it fares.")
    if staged not in (None, challenger):
        say(f"Version {staged} passed the gate, is staged and waits until the canary has ended.")
    complete = f"Complete it: [bold]python run.py promote {challenger}[/bold]"
    say(f"{complete}   End it: [bold]python run.py canary --off[/bold]")


def release_version(config: Config, version: str, reason: str, override: str = "") -> None:
    """Run the deployment pipeline for one version, unless it could not end well: it writes a release first.

    Args:
        override: why a version that did not pass the gate is released all the same; empty if it did.
    """
    check_endpoint(config)
    from pipelines.deployment import deployment_pipeline

    deployment_pipeline(config.name, version, reason, config.serving, override)


def run_stop(path: Path | None, stack: str | None, overrides: list[str]) -> None:
    """Stop the endpoint."""
    config = checked_config(path, overrides)
    use_stack(stack)
    from controlplane.endpoint import active_deployer

    if active_deployer().stop_endpoint(config.name):
        say(f"Endpoint {config.name!r} has stopped. [bold]python run.py deploy[/bold] starts it again.")
    else:
        say(f"Endpoint {config.name!r} was not running. [bold]python run.py deploy[/bold] starts it.")
