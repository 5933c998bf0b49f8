"""Before a run: what it needs, whether that fits, how long it takes, and which changes would make it fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from tuneline.training.plan.amount import tokens_to_train
from tuneline.training.plan.architecture import Architecture, read_architecture
from tuneline.training.plan.cards import GIB, Device
from tuneline.training.plan.engine import EngineMemory, engine_memory
from tuneline.training.plan.memory import Memory, held, training_memory
from tuneline.training.plan.remedies import changes, engine_changes
from tuneline.training.plan.speed import flops_per_token, tokens_per_second, utilisation

if TYPE_CHECKING:
    from tuneline.config import Config


@dataclass(frozen=True)
class Plan:
    """A run on a device, before it.

    Attributes:
        device: where.
        base: the base model.
        source: where its sizes are from.
        parameters: of the base model.
        trainable: weights that are trained.
        checkpointing: activations are computed twice.
        training: memory of one process, bytes.
        engine: memory of the serving engine, bytes.
        flops_per_token: forward and backward.
        utilisation: assumed share of the device's peak.
        tokens_per_second: useful tokens, expected; None if the device's speed is unknown.
        tokens: of the whole run; None if the data is not here.
        tokens_from: where ``tokens`` is from.
        seconds: expected; None if either is unknown.
        remedy: ``key=value`` overrides with which it would fit; empty if it fits, None if nothing helps.
    """

    device: Device
    base: str
    source: str
    parameters: int
    trainable: int
    checkpointing: bool
    training: Memory
    engine: EngineMemory
    flops_per_token: float
    utilisation: float
    tokens_per_second: float | None
    tokens: int | None
    tokens_from: str
    seconds: float | None
    remedy: tuple[str, ...] | None = ()

    @property
    def fits(self) -> bool:
        """Training and engine fit, each with the device to itself."""
        return self.training_fits and self.engine.fits

    @property
    def training_fits(self) -> bool:
        """Training fits."""
        return _fits(self.training, self.device)

    def document(self) -> dict[str, Any]:
        """For JSON: all numbers, memory in bytes."""
        return asdict(self) | {
            "fits": self.fits,
            "training": asdict(self.training) | {"total": self.training.total, "fits": self.training_fits},
            "engine": asdict(self.engine) | {"fits": self.engine.fits},
        }


def plan(config: Config, device: Device) -> Plan:
    """Plan a run; a few seconds for a model of any size, since no weight exists.

    Raises:
        UserError: the base model's sizes cannot be had.
    """
    architecture = read_architecture(config.model)
    made = _planned(config, architecture, device)
    if made.fits:
        return made
    return replace(made, remedy=_remedy(config, architecture, device, made))


def _remedy(config: Config, architecture: Architecture, device: Device, made: Plan) -> tuple[str, ...] | None:
    """Overrides with which training fits, then those with which the engine does."""
    found: dict[str, str] = {}
    if not made.training_fits:
        for overrides, changed in changes(config, device.kind):
            wanted = changed.training.gradient_checkpointing
            twice = device.kind == "cuda" if wanted == "auto" else wanted
            needed = training_memory(architecture, changed.model, changed.training, device.kind, checkpointing=twice)
            if _fits(needed, device):
                config = changed
                found |= _by_key(overrides)
                break
        else:
            return None
    rank_bytes = _rank_bytes(made.trainable, config)
    if not engine_memory(architecture, config.serving, rank_bytes, device).fits:
        for overrides, changed in engine_changes(config):
            if engine_memory(architecture, changed.serving, rank_bytes, device).fits:
                found |= _by_key(overrides)
                break
        else:
            return None
    return tuple(f"{key}={value}" for key, value in found.items())


def _by_key(overrides: tuple[str, ...]) -> dict[str, str]:
    return {key: value for key, _, value in (override.partition("=") for override in overrides)}


def _rank_bytes(trainable: int, config: Config) -> float:
    """An adapter's bytes for each unit of its rank, as the engine holds it; none without an adapter."""
    return 2 * trainable / config.training.r if config.training.method == "lora" else 0.0


def _planned(config: Config, architecture: Architecture, device: Device) -> Plan:
    model, training = config.model, config.training
    memory, checkpointing = _memory(config, architecture, device)
    trainable = held(architecture, model, training, device.kind).trainable
    flops = flops_per_token(architecture, training, trainable, checkpointing=checkpointing)
    speed = tokens_per_second(flops, model, training, device)
    tokens, tokens_from = tokens_to_train(config)
    seconds = None if speed is None or tokens is None else tokens / speed
    if seconds is not None and training.max_minutes is not None:
        seconds = min(seconds, training.max_minutes * 60)
    return Plan(
        device=device,
        base=model.base,
        source=architecture.source,
        parameters=architecture.parameters,
        trainable=trainable,
        checkpointing=checkpointing,
        training=memory,
        engine=engine_memory(architecture, config.serving, _rank_bytes(trainable, config), device),
        flops_per_token=flops,
        utilisation=utilisation(model, device),
        tokens_per_second=speed,
        tokens=tokens,
        tokens_from=tokens_from,
        seconds=seconds,
    )


def _memory(config: Config, architecture: Architecture, device: Device) -> tuple[Memory, bool]:
    """Memory of a process, and whether activations are computed twice: where the config says auto, if they must."""
    wanted = config.training.gradient_checkpointing
    if wanted == "auto":
        kept = training_memory(architecture, config.model, config.training, device.kind, checkpointing=False)
        if device.kind == "cpu" or _fits(kept, device):
            return kept, False
        wanted = True
    made = training_memory(architecture, config.model, config.training, device.kind, checkpointing=wanted)
    return made, wanted


def _fits(memory: Memory, device: Device) -> bool:
    return memory.total <= device.gib * GIB
