"""The memory of one forward and backward pass, from running it with tensors that have shapes and no numbers.

PyTorch's fake tensors go through the same operators as real ones and cost no memory; what is alive at once is counted.
The pass is training's own: ``at_full_speed``, ``batch_loss``, and autocast where training has it. So there is no
formula for each architecture, and what the code does is what is planned (tests/training/test_plan.py compares with the
allocator of a real pass). Models of one and of two layers are run, and the difference is added for each further layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import convert_outputs_to_fp32
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedFakeTensorException,
)

from tuneline.errors import TunelineError
from tuneline.training.block_attention import BlocksUnsupportedError
from tuneline.training.fast import at_full_speed, needs_autocast
from tuneline.training.head import bare_head
from tuneline.training.loss import batch_loss
from tuneline.training.plan.architecture import Architecture, build
from tuneline.training.plan.live_bytes import LiveBytes

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig

# Share of the tokens that have a loss, where the data does not say: answers and questions of one length.
SUPERVISED_SHARE = 0.5


class UnplannableError(TunelineError):
    """What the model does next depends on its numbers, and a plan has none."""


def trainable_model(architecture: Architecture, model: ModelConfig, training: TrainingConfig, layers: int) -> Any:
    """The model as it is trained, on the meta device: quantized, with its adapter, the rest frozen."""
    if training.method == "full":  # in float32, whatever the products' dtype: smaller steps would be rounded away
        return build(architecture.config, layers, torch.float32).requires_grad_(True)
    made: Any = build(architecture.config, layers, getattr(torch, model.dtype))
    if model.quantization != "none":
        _quantize(made, getattr(torch, model.dtype))
    targets = training.target_modules
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=training.r,
        lora_alpha=training.lora_alpha,
        lora_dropout=training.lora_dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        use_rslora=training.use_rslora,
        use_dora=training.use_dora,
        modules_to_save=list(training.modules_to_save) or None,
    )
    adapted = get_peft_model(made, config, autocast_adapter_dtype=True)
    for parameter in adapted.parameters():
        if parameter.requires_grad:  # modules_to_save, which training turns to float32, too
            parameter.data = parameter.data.float()
    return adapted


def step_bytes(
    architecture: Architecture, model: ModelConfig, training: TrainingConfig, kind: str, *, checkpointing: bool
) -> int:
    """Most bytes alive in a pass over a micro-batch, beside weights, gradients and optimizer.

    Args:
        architecture: of the base model.
        model: the config's section.
        training: the config's section.
        kind: ``cuda`` or ``cpu``, on which attention is computed in float32.
        checkpointing: activations are computed twice instead of kept.

    Raises:
        UnplannableError: the model cannot be run without numbers.
    """
    one, two = (
        _simulated(
            trainable_model(architecture, model, training, layers), model, training, kind, checkpointing=checkpointing
        )
        for layers in (1, 2)
    )
    return one + (architecture.layers - 1) * (two - one)


def _simulated(trained: Any, model: ModelConfig, training: TrainingConfig, kind: str, *, checkpointing: bool) -> int:
    """Run a model that is on the meta device with fake tensors."""
    if checkpointing:
        trained.gradient_checkpointing_enable({"use_reentrant": False})
        if training.method == "lora":
            trained.enable_input_require_grads()
    trained.train()
    try:
        with FakeTensorMode():
            _make_fake(trained)
            try:
                return _pass_bytes(trained, model, training, kind, in_blocks=True)
            except (BlocksUnsupportedError, TypeError, ValueError):  # as packing_is_exact finds out in training
                return _pass_bytes(trained, model, training, kind, in_blocks=False)
    except (DataDependentOutputException, DynamicOutputShapeException, UnsupportedFakeTensorException) as error:
        raise UnplannableError(
            f"the memory of {model.base} cannot be planned, since its code looks at numbers: {type(error).__name__}",
            hint="Train two steps (training.max_steps: 2): the report says what they took at most.",
        ) from error


def _pass_bytes(trained: Any, model: ModelConfig, training: TrainingConfig, kind: str, *, in_blocks: bool) -> int:
    """Most bytes alive in a pass over a full micro-batch of the longest conversations.

    In blocks even where training groups by length: transformers' attention sees in the numbers of the positions that it
    needs no mask either, and here there are none to see.
    """
    tokens, length = max(training.micro_batch_tokens, training.max_length), training.max_length
    rows, rest = divmod(tokens, length)
    shape = (1, tokens) if in_blocks else (rows, length)
    batch: dict[str, Any] = {
        "input_ids": torch.zeros(shape, dtype=torch.int64),
        "position_ids": torch.zeros(shape, dtype=torch.int64),
        "labels": torch.zeros(shape, dtype=torch.int64),
        "loss_weights": torch.zeros(shape),
    }
    call: Callable[..., Any] = trained
    if in_blocks:
        batch["blocks"] = ((rows, length), (1, rest)) if rest else ((rows, length),)
        call = partial(call, in_float32=kind == "cpu" and training.packing != "off")
    if needs_autocast(trained, training) and model.dtype != "float32":  # as accelerate wraps a model
        call = convert_outputs_to_fp32(torch.autocast("cpu", getattr(torch, model.dtype))(call))
    supervised = int(shape[0] * shape[1] * SUPERVISED_SHARE)
    places = tuple(torch.zeros(supervised, dtype=torch.int64) for _ in shape)
    for parameter in trained.parameters():
        if parameter.requires_grad:  # from an earlier micro-batch
            parameter.grad = torch.zeros_like(parameter)
    memory = LiveBytes()
    with at_full_speed(trained, training, packed=in_blocks), memory:
        batch_loss(call, batch, 1.0, bare_head(trained), places).backward()
    return memory.peak


def _make_fake(model: nn.Module) -> None:
    """Turn meta tensors to fake ones, which live on a device and so meet autocast."""
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                empty = torch.empty(parameter.shape, dtype=parameter.dtype)
                module._parameters[name] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype)


class _QuantizedProduct(torch.autograd.Function):
    """A product with frozen quantized weights as bitsandbytes does it: weights are unpacked for it, inputs not kept."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, shape: torch.Size) -> Tensor:
        ctx.shape = shape
        return inputs @ inputs.new_empty(shape).t()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        return grad @ grad.new_empty(ctx.shape), None


class _QuantizedLinear(nn.Linear):
    """Stands for bitsandbytes' layer, which cannot be made without numbers; ``weight`` keeps the shape alone."""

    compute_dtype: torch.dtype

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name
        """Multiply in the compute dtype and return in the input's, as bitsandbytes does."""
        made: Tensor = _QuantizedProduct.apply(input.to(self.compute_dtype), self.weight.shape)  # type: ignore[no-untyped-call]
        return made.to(input.dtype)


def _quantize(model: Any, dtype: torch.dtype) -> None:
    """Mirror what loading in 4 or 8 bits and PEFT's ``prepare_model_for_kbit_training`` do to the modules."""
    head = model.get_output_embeddings()
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear and child is not head:
                linear = _QuantizedLinear(child.in_features, child.out_features, child.bias is not None, device="meta")
                linear.compute_dtype = dtype
                linear.to(dtype)
                setattr(parent, name, linear)
    model.requires_grad_(False)
    for module in model.modules():
        if not isinstance(module, _QuantizedLinear):
            module._parameters.update(
                {
                    key: nn.Parameter(value.float(), requires_grad=False)
                    for key, value in module._parameters.items()
                    if value is not None
                }
            )
    model.tie_weights()
