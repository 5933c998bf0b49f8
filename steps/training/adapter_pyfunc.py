"""How MLflow loads a trained adapter: this file travels with the model and imports nothing of tuneline.

The base model is not in it, only its hub id. Where that is not enough (a folder of the training machine) say where it
is: ``mlflow.pyfunc.load_model(uri, model_config={"base": FOLDER})``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer


class AdaptedModel:
    """Base model, adapter and the prompt that it was trained with."""

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self._prompt = json.loads((folder / "prompt.json").read_text())
        where = {key: settings[key] for key in ("revision", "trust_remote_code") if settings.get(key)}
        if Path(settings["base"]).is_dir():
            where.pop("revision", None)
        self._tokenizer = AutoTokenizer.from_pretrained(settings["base"], **where)
        base = AutoModelForCausalLM.from_pretrained(
            settings["base"], dtype=getattr(torch, settings["dtype"]), attn_implementation="sdpa", **where
        )
        self._model = PeftModel.from_pretrained(base, str(folder)).eval()
        if torch.cuda.is_available():
            self._model.to("cuda")

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> list[str]:
        """Answer the column ``question``, greedily. ``max_new_tokens`` is the longest answer."""
        return [self._answer(question, **(params or {})) for question in model_input["question"]]

    @torch.inference_mode()
    def _answer(self, question: str, max_new_tokens: int = 128) -> str:
        system = [{"role": "system", "content": self._prompt["system"]}] if self._prompt["system"] else []
        turns = [*system, *self._prompt["few_shot"], {"role": "user", "content": question}]
        template = {"chat_template": self._prompt["chat_template"]} if self._prompt["chat_template"] else {}
        prompt = self._tokenizer.apply_chat_template(
            turns, add_generation_prompt=True, return_dict=True, return_tensors="pt", **template
        )
        ids = prompt["input_ids"].to(self._model.device)
        made = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            stop_strings=list(self._prompt["stop"]) or None,
            tokenizer=self._tokenizer,
            pad_token_id=self._tokenizer.eos_token_id,
        )
        return str(self._tokenizer.decode(made[0, ids.shape[1] :], skip_special_tokens=True))


def _load_pyfunc(path: str, model_config: dict[str, Any] | None = None) -> AdaptedModel:
    """MLflow's entry."""
    return AdaptedModel(Path(path), model_config or {})
