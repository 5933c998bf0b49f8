"""The memory of one forward and backward pass, from running it with tensors that have shapes and no numbers.

PyTorch's fake tensors go through the same operators as real ones, autocast, PEFT's layers and gradient checkpointing
included, and cost no memory; what is alive at once is counted. So there is no formula for each architecture, and what
the code does is what is planned (tests/training/test_plan.py compares with the allocator of a real pass). Models of one
and of two layers are run, and the difference is added for each further layer.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from tuneline.training.plan.architecture import Architecture, build
from tuneline.training.plan.live_bytes import LiveBytes

if TYPE_CHECKING:
    from tuneline.config import ModelConfig, TrainingConfig

# Share of the tokens that have a loss, where the data does not say: answers and questions of one length.
SUPERVISED_SHARE = 0.5


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
    return get_peft_model(made, config, autocast_adapter_dtype=True)


def step_bytes(architecture: Architecture, model: ModelConfig, training: TrainingConfig, *, checkpointing: bool) -> int:
    """Most bytes alive in a pass over a micro-batch, beside weights, gradients and optimizer.

    Args:
        architecture: of the base model.
        model: the config's section.
        training: the config's section.
        checkpointing: activations are computed twice instead of kept.
    """
    one, two = (
        simulate(trainable_model(architecture, model, training, layers), model, training, checkpointing=checkpointing)
        for layers in (1, 2)
    )
    return one + (architecture.layers - 1) * (two - one)


def simulate(trained: Any, model: ModelConfig, training: TrainingConfig, *, checkpointing: bool) -> int:
    """Run a model that is on the meta device with fake tensors; the gradients are there from an earlier micro-batch."""
    if checkpointing:
        trained.gradient_checkpointing_enable({"use_reentrant": False})
        if training.method == "lora":
            trained.enable_input_require_grads()
    trained.train()
    rows = max(1, training.micro_batch_tokens // training.max_length)
    with FakeTensorMode():
        _make_fake(trained)
        return pass_bytes(trained, model.dtype, rows, training.max_length, packed=training.packing != "off")


def pass_bytes(trained: Any, dtype: str, rows: int, row_tokens: int, *, packed: bool) -> int:
    """Most bytes alive in a pass over ``rows`` of ``row_tokens`` tokens; of fake and of real models alike."""
    for parameter in trained.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.zeros_like(parameter)
    ids = torch.zeros((rows, row_tokens), dtype=torch.int64)
    supervised = torch.zeros(int(rows * row_tokens * SUPERVISED_SHARE), dtype=torch.int64)
    compute = contextlib.nullcontext() if dtype == "float32" else torch.autocast("cpu", getattr(torch, dtype))
    memory = LiveBytes()
    with memory:
        # Packed conversations are kept apart by a mask of tokens times tokens a row.
        mask = torch.ones((rows, 1, row_tokens, row_tokens), dtype=torch.bool) if packed else None
        with compute:
            logits = trained(input_ids=ids, attention_mask=mask, use_cache=False).logits
        loss = _loss(logits, supervised)
        del logits
        loss.backward()
    return memory.peak


def _loss(logits: Tensor, supervised: Tensor) -> Tensor:
    """As ``tuneline.training.loss`` does it, on the logits that accelerate has turned to float32."""
    chosen = logits.float().flatten(0, 1)[supervised]
    return torch.nn.functional.cross_entropy(chosen.float(), supervised, reduction="none").sum()


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
