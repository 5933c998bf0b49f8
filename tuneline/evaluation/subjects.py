"""Who is evaluated: a base model, alone and with each adapter over it, never two copies of it in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from peft import PeftConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from tuneline.errors import UserError
from tuneline.evaluation.report import Role
from tuneline.prompts.template import PromptTemplate
from tuneline.release.files import ADAPTER_FILES, FingerprintMismatch, fingerprint


@dataclass(frozen=True)
class AdapterSubject:
    """An adapter to be asked.

    Attributes:
        role: champion or candidate.
        folder: PEFT's two files.
        version: the model version.
        sha256: fingerprint that the files must have.
        prompt: the template that it is served with.
        whole: the folder of its whole model, which takes the base model's place; None for an adapter over that.
        whole_sha256: fingerprint that the whole model's files must have.
    """

    role: Literal["champion", "candidate"]
    folder: Path
    version: str
    sha256: str
    prompt: PromptTemplate = field(default_factory=PromptTemplate)
    whole: Path | None = None
    whole_sha256: str | None = None


@contextmanager
def with_adapters(base: PreTrainedModel, adapters: Sequence[AdapterSubject]) -> Iterator[PreTrainedModel | PeftModel]:
    """Load adapters over a base model, and take them off again at the end.

    Args:
        base: the base model, without adapters.
        adapters: without any, the base model is yielded as it is.

    Yields:
        The model, in evaluation mode. ``switched_to`` says who answers.

    Raises:
        FingerprintMismatch: an adapter's files are not the registered ones.
        UserError: an adapter does not fit the base model.
    """
    model: PeftModel | None = None
    try:
        for adapter in adapters:
            if (found := fingerprint(adapter.folder, ADAPTER_FILES)) != adapter.sha256:
                raise FingerprintMismatch(
                    f"The {adapter.role}'s files in {adapter.folder} have the fingerprint {found[:12]}…, "
                    f"not {adapter.sha256[:12]}…: they are not the ones that were registered."
                )
            try:
                # In the base model's dtype, as the engine holds them; PEFT would otherwise make them float32.
                # Not PeftModel.from_pretrained: if it failed, nobody could take the adapter off again.
                if model is None:
                    config = PeftConfig.from_pretrained(str(adapter.folder))
                    model = get_peft_model(base, config, adapter_name=adapter.role, autocast_adapter_dtype=False)
                model.load_adapter(str(adapter.folder), adapter_name=adapter.role, autocast_adapter_dtype=False)
            except (RuntimeError, ValueError, KeyError) as error:
                raise UserError(
                    f"The {adapter.role} (version {adapter.version}) does not fit the base model: "
                    f"{str(error).strip().splitlines()[0]}",
                    hint="An adapter belongs to the base model that it was trained on. Give the experiment another "
                    "name, or go back to the champion's base model.",
                ) from error
        answering = base if model is None else model
        answering.eval()
        yield answering
    finally:
        if model is not None:
            model.unload()


def switched_to(model: PreTrainedModel | PeftModel, role: Role) -> AbstractContextManager[None]:
    """Switch on one adapter, or none for the base model."""
    if not isinstance(model, PeftModel):
        return nullcontext()  # it is the base model
    if role == "base":
        switched_off: AbstractContextManager[None] = model.disable_adapter()
        return switched_off
    model.set_adapter(role)
    return nullcontext()
