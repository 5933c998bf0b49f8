"""Stack files: the form of ``zenml stack export``, read and checked without ZenML's store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from zenml.enums import StackComponentType

from tuneline.errors import UserError
from tuneline.paths import REPO

FOLDER = REPO / "stacks"


class ComponentFile(BaseModel):
    """One component of a stack file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    flavor: str
    configuration: dict[str, Any] = Field(default_factory=dict)
    type: str | None = None  # ZenML's export repeats the key under which it stands


class StackFile(BaseModel):
    """A stack file.

    Attributes:
        stack_name: the stack's name in ZenML.
        components: by type; ZenML 0.98 exports a list for each.
        zenml_version: which ZenML wrote it. ``zenml stack import`` asks for it; here it decides nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stack_name: str
    components: dict[StackComponentType, list[ComponentFile]]
    zenml_version: str | None = None

    @field_validator("components", mode="before")
    @classmethod
    def _always_lists(cls, components: Any) -> Any:
        if not isinstance(components, dict):
            return components
        return {key: value if isinstance(value, list) else [value] for key, value in components.items()}


def stack_files() -> dict[str, Path]:
    """The stack files that come with the repository, by short name (``local``)."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def read_stack_file(path: str | Path) -> StackFile:
    """Read a stack file, by path or by its short name in ``stacks/``.

    Raises:
        UserError: there is no such file, or it is not a stack file; the message says where and lists the known ones.
    """
    file = stack_files().get(str(path), Path(path))
    if not file.is_file():
        raise UserError(f"there is no stack file {str(path)!r}", hint=_known_files())
    try:
        return StackFile.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is not YAML: {error}", hint=_known_files()) from error
    except ValidationError as error:
        problems = "\n".join(
            f"  {'.'.join(str(part) for part in problem['loc']) or 'the file'}: {problem['msg']}"
            for problem in error.errors()
        )
        raise UserError(f"{file} is not a stack file:\n{problems}", hint=_known_files()) from error


def shown(file: Path | None) -> str | None:
    """A stack file's path as commands take it, relative to the repository."""
    return str(file.relative_to(REPO)) if file else None


def _known_files() -> str:
    return "There are: " + ", ".join(f"{name} ({shown(file)})" for name, file in stack_files().items()) + "."
