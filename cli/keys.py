"""``run.py keys``: who may use the endpoint, and how much of it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from cli.options import ConfigOption, SetOption, StackOption
from cli.screen import complain_softly, console, say
from cli.workplace import checked_config, use_stack
from tuneline.errors import UserError

if TYPE_CHECKING:
    from controlplane.storage import Storage
    from tuneline.release.keys import Key

keys_app = typer.Typer(
    help="Who may use the endpoint, and how much of it: list, create and revoke API keys.", no_args_is_help=True
)

_STYLE = {"active": "green", "revoked": "red", "expired": "yellow"}
_DURATION = re.compile(r"^(\d{1,5})([mhdw])$")
_UNIT = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@keys_app.command("list")
def list_(
    json_: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Show all keys: what they open, their limits, and whether they still do."""
    endpoint, storage = _endpoint(config, stack, set_)
    from controlplane.keys import list_keys

    keys = list_keys(endpoint, storage)
    if json_:
        print(json.dumps([_row(key) for key in keys], indent=2))
        return
    if not keys:
        say(f"{endpoint!r} has no keys yet. [bold]python run.py deploy[/bold] makes the first.")
        return
    table = Table(title=f"API keys of {endpoint}", title_justify="left")
    limited, ending = any(_limits(key) for key in keys), any(key.expires_at for key in keys)
    for column in ("id", "name", "scopes", *(["per minute"] * limited), "created", *(["expires"] * ending), "state"):
        table.add_column(column, no_wrap=column in ("id", "created", "expires", "state"))
    for key in keys:
        state = key.state()
        table.add_row(
            *(escape(key.id), escape(key.name), escape("\n".join(sorted(key.scopes)))),
            *([_limits(key)] * limited),
            f"{key.created_at:%Y-%m-%d}" if key.created_at else "",
            *([f"{key.expires_at:%Y-%m-%d}" if key.expires_at else ""] * ending),
            f"[{_STYLE[state]}]{state}[/]",
        )
    console.print(table)
    say("Keys without limits of their own have the release's. The keys themselves are kept nowhere.")


@keys_app.command()
def create(
    name: Annotated[str, typer.Argument(help="What to call it, e.g. who will use it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it opens: inference, pin, metrics, feedback. Repeatable. Default: inference, feedback."
        ),
    ] = None,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Its own limit. Default: the release's.", show_default=False)
    ] = None,
    tokens_per_minute: Annotated[
        int | None, typer.Option(min=1, help="Its own limit, prompt and answer. Default: the release's.")
    ] = None,
    expires_in: Annotated[
        str | None, typer.Option(metavar="90d", help="When it ends: minutes, hours, days or weeks (30m, 12h, 90d, 4w).")
    ] = None,
    json_: Annotated[bool, typer.Option("--json", help="Print JSON alone.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept.

    The endpoint knows it within a second. Two who make keys at once cannot lose one.
    """
    lifetime = _duration(expires_in)
    endpoint, storage = _endpoint(config, stack, set_)
    from controlplane.keys import create_key

    key, entry = create_key(
        endpoint,
        storage,
        name,
        scope or ["inference", "feedback"],
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        expires_in=lifetime,
    )
    if json_:
        print(json.dumps(_row(entry) | {"key": key}, indent=2))
        return
    print(key)  # alone on stdout, so that it can be piped into a secret store
    ends = f", ends on {entry.expires_at:%Y-%m-%d}" if entry.expires_at else ""
    complain_softly(f"Key {entry.id} ({', '.join(sorted(entry.scopes))}{ends}). Keep it: it is not shown again.")


@keys_app.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="ID|NAME", help="Which key, as `keys list` shows it.")],
    force: Annotated[bool, typer.Option("--force", help="Revoke even the key that the commands use.")] = False,
    config: ConfigOption = None,
    stack: StackOption = None,
    set_: SetOption = None,
) -> None:
    """End a key; the endpoint refuses it within a second or two. It stays in the list as a record."""
    endpoint, storage = _endpoint(config, stack, set_)
    from controlplane.keys import revoke_key

    revoked = revoke_key(endpoint, storage, key, force=force)
    say(f"Key {escape(revoked.id)} ({escape(revoked.name)}) is revoked since {revoked.revoked_at:%Y-%m-%d %H:%M} UTC.")


def _endpoint(config: Path | None, stack: str | None, overrides: list[str] | None) -> tuple[str, Storage]:
    checked = checked_config(config, overrides or [])
    use_stack(stack)
    from controlplane.storage import active_storage

    return checked.name, active_storage()


def _duration(text: str | None) -> timedelta | None:
    if text is None:
        return None
    match = _DURATION.match(text)
    if match is None or not int(match[1]):
        raise UserError(f"--expires-in is {text!r}", hint="Use a number and m, h, d or w: 30m, 12h, 90d, 4w.")
    return timedelta(**{_UNIT[match[2]]: int(match[1])})


def _limits(key: Key) -> str:
    parts = ((key.requests_per_minute, "requests"), (key.tokens_per_minute, "tokens"))
    return ", ".join(f"{limit:,} {what}" for limit, what in parts if limit is not None)


def _row(key: Key) -> dict[str, Any]:
    """All but the hash, which is nobody's business."""
    return key.model_dump(mode="json", exclude={"sha256"}) | {"scopes": sorted(key.scopes), "state": key.state()}
