"""Make a checkpoint of an exported defender, to train on: python -m train.nano.unpack [models/defender] --out out/defender

The inverse of `train.nano.export`: it writes a Qwen2 model in float32, its tokenizer with the chat template, and opensoc.json with what the export says of its training.
`train.sft --model`, `train.grpo --model` and `train.nano.export` take the directory. Weights that were exported in 8 bits stay as they were rounded:

    python -m train.nano.unpack --out out/defender
    python -m train.nano.unpack models/attacker --out out/attacker
    python -m train.sft --model out/defender --generate 10000 --out out/further

Exit code: 0 done; 2 a wrong call, or an export that cannot be read.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from players.embedded import MAKE, MODEL, About, read_export
from runs.ending import refusing
from runs.extras import require
from schema import BadRequestError
from train.nano.checkpoint import check_free, save
from train.nano.model import template_of, wrap
from train.nano.onnx_graph import real

# What train.nano.onnx_graph calls the parts of a layer, and what transformers does.
MATRICES = {
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "out": "self_attn.o_proj",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
NORMS = {"before": "input_layernorm", "after": "post_attention_layernorm"}


# ---------------------------------------------------------------- the whole
def unpack(export: Path, out: Path, *, any_text: bool = False) -> About:
    """Write the checkpoint of an export.

    Args:
        export: a directory that `train.nano.export` wrote.
        out: the directory to write, where nothing may be.
        any_text: whether the export may have learned another version of the compact text; who trains on it teaches it this one.

    Returns:
        What defender.json says.

    Raises:
        BadRequestError: there is no export, it has another format or learned another version of the compact text, its graph is no such Qwen2 model, or `out` is taken.
        OpenSOCError: a library is not installed, or the checkpoint cannot be written.
    """
    check_free(out)
    require("train", "torch", "transformers", "onnx")
    about, graph, tokenizer = read_export(export, any_text=any_text)
    made = {**about.made, "unpacked_from": {"precision": about.precision, "fingerprint": about.fingerprint}}
    try:
        chat = chat_tokenizer(tokenizer.decode(), about)
        model = model_of(graph, chat)
    except BadRequestError:
        raise
    except Exception as error:  # onnx, torch and tokenizers each have their own
        raise BadRequestError(
            f"Expected a Qwen2 model as train.nano.export writes it in {str(export)!r}, and reading it gave {type(error).__name__}: "
            f"{str(error)[:200]}; {MAKE}."
        ) from error
    save(model, chat, out, about=made)
    return about


def chat_tokenizer(content: str, about: About) -> Any:
    """Return an export's tokenizer as transformers has it, with the ChatML template.

    Args:
        content: of its tokenizer.json.
        about: what the export says of itself.

    Raises:
        BadRequestError: the export puts a prompt into another template.
    """
    from tokenizers import Tokenizer

    tokenizer = wrap(Tokenizer.from_str(content), context=about.context)
    if template_of(tokenizer) != about.template or tokenizer.eos_token_id != about.end:
        raise BadRequestError(
            f"Expected an export with the ChatML template of train.nano.model, and it begins a prompt with {about.template[0]!r} and ends an answer with token {about.end}; "
            "train on from the checkpoint that it was made of."
        )
    return tokenizer


# ---------------------------------------------------------------- the model
def model_of(graph: bytes, tokenizer: Any) -> Any:
    """Return the `Qwen2ForCausalLM` that `train.nano.onnx_graph.graph_of` made a graph of, in float32 on the CPU.

    Args:
        graph: content of model.onnx.
        tokenizer: the model's own, which says how long its texts are and what ends and pads them.

    Raises:
        KeyError, RuntimeError: the graph lacks a weight, or one has another shape.
    """
    import onnx
    import torch
    from transformers import Qwen2ForCausalLM

    stored = onnx.load_model_from_string(graph).graph
    weights = {weight.name: onnx.numpy_helper.to_array(weight) for weight in stored.initializer}
    config = _config(stored.node, weights, tokenizer)
    model = Qwen2ForCausalLM(config)
    state = _state(weights, config.num_hidden_layers)
    model.load_state_dict({name: torch.tensor(value) for name, value in state.items()})
    return model


def _config(nodes: Sequence[Any], weights: Mapping[str, Any], tokenizer: Any) -> Any:
    """Return the configuration that a graph was made from."""
    from transformers import Qwen2Config

    attention = [_settings(node) for node in nodes if node.op_type == "GroupQueryAttention"]
    norm = next(_settings(node) for node in nodes if node.op_type == "RMSNormalization")
    vocabulary, hidden = _table(weights, "embeddings").shape
    heads = attention[0]["num_heads"]
    width = len(_matrix(weights, "layer0.query")) // heads
    return Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=len(_matrix(weights, "layer0.up")),
        num_hidden_layers=len(attention),
        num_attention_heads=heads,
        num_key_value_heads=attention[0]["kv_num_heads"],
        max_position_embeddings=tokenizer.model_max_length,
        rms_norm_eps=_plain(norm["epsilon"]),
        rope_parameters={"rope_type": "default", "rope_theta": _theta(weights["turn"], width)},
        tie_word_embeddings=not _is_held(weights, "head"),
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
        **({} if width * heads == hidden else {"head_dim": width}),
    )


def _settings(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {setting.name: helper.get_attribute_value(setting) for setting in node.attribute}


def _plain(value: float) -> float:
    """Return a setting as it was written before float32 rounded it: six digits of it are sure."""
    return float(f"{value:.6g}")


def _theta(turn: Any, width: int) -> float:
    """Return the base of the rotary places, the last of whose turns is base ** -((width - 2) / width)."""
    return _plain(float(turn[-1]) ** (-width / (width - 2)))


def _state(weights: Mapping[str, Any], layers: int) -> dict[str, Any]:
    """Return the weights under transformers' names."""
    embeddings = _table(weights, "embeddings")
    state = {
        "model.embed_tokens.weight": embeddings,
        "model.norm.weight": weights["norm"],
        "lm_head.weight": _table(weights, "head") if _is_held(weights, "head") else embeddings,
    }
    for index in range(layers):
        part, own = f"layer{index}", f"model.layers.{index}"
        for name, place in NORMS.items():
            state[f"{own}.{place}.weight"] = weights[f"{part}.{name}"]
        for name, place in MATRICES.items():
            state[f"{own}.{place}.weight"] = _matrix(weights, f"{part}.{name}")
            if (bias := weights.get(f"{part}.{name}.bias")) is not None:
                state[f"{own}.{place}.bias"] = bias
    return state


def _matrix(weights: Mapping[str, Any], name: str) -> Any:
    """Return the matrix of a product, float32 [outputs, inputs]: in float32 a graph holds it turned round."""
    return _table(weights, name) if _is_held(weights, name) else weights[f"{name}.weight"].T


def _table(weights: Mapping[str, Any], name: str) -> Any:
    """Return embeddings or output matrix, float32 [tokens, width], or another matrix in 8 bits."""
    return weights[name] if name in weights else real(weights[f"{name}.whole"], weights[f"{name}.scales"])


def _is_held(weights: Mapping[str, Any], name: str) -> bool:
    return name in weights or f"{name}.whole" in weights


# ---------------------------------------------------------------- the command
@refusing
def main(argv: Sequence[str] | None = None) -> int:
    """Unpack an export, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m train.nano.unpack", description="Make a checkpoint of an exported defender, to train on."
    )
    add = parser.add_argument
    add("export", nargs="?", type=Path, default=MODEL, help="directory of an export (default: models/defender)")
    add("--out", type=Path, required=True, metavar="DIR", help="where to write the checkpoint")
    add(
        "--any-text",
        action="store_true",
        help="take an export that learned another version of the compact text, to teach it this one",
    )
    args = parser.parse_args(argv)
    about = unpack(args.export, args.out, any_text=args.any_text)
    print(f"Wrote {args.out}: {about.parameters:,} float32 weights of an export in {about.precision}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
