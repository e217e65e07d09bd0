"""Models for the trainers: a directory, an adapter's directory or a name on the hub, checked before anything long begins.

A name on the hub is taken from the local cache if it is there; otherwise the hub is asked once, for HUB_S seconds at most.
A chat template without a system role gets one: the system text then stands at the head of the user message, in the template that is
saved with the model, so evaluation does the same.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from players.base import Density
from players.prompt import answer_text
from players.weights import base_name, cached, is_adapter, is_model, load_model, load_tokenizer, loading
from schema import BadRequestError, OpenSOCError
from train.data import frozen

HUB_S = 10.0  # seconds that the hub has for its first answer
FILES = ("*.json", "*.jinja", "*.model", "*.txt", "*.safetensors")
Messages = list[dict[str, str]]

# put before a template that knows no system role
FOLD = (
    "{% if messages and messages[0]['role'] == 'system' %}"
    "{% set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n\\n' + messages[1]['content']}] + messages[2:] %}"
    "{% endif %}"
)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready for a trainer. `context` is the longest prompt and answer together, in tokens."""

    model: Any
    tokenizer: Any
    adapter: bool
    context: int


# ---------------------------------------------------------------- where it is
def local_directory(named: str) -> Path:
    """Return the directory of a model: the given one, or the cache's of a hub name, filled from the hub if it is empty.

    Raises:
        BadRequestError: there is no such directory, or the hub has no such model or cannot be reached.
    """
    path = Path(named)
    if path.is_dir():
        if not is_model(path):
            raise BadRequestError(
                f"Expected a model (config.json) or an adapter (adapter_config.json) in the directory {named!r}, and there is neither; "
                "give one that save_pretrained wrote."
            )
        return path
    if path.is_absolute() or not re.fullmatch(r"[\w.-]+(/[\w.-]+)?(@[\w.-]+)?", named) or named.startswith("."):
        raise BadRequestError(f"Expected a model's directory at {named!r}, and there is none; correct --model.")
    return cached(named) or _fetch(named)


def _fetch(named: str) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    refusal = (
        f"Expected the model {named!r} as a directory here, in the local cache or on the hub, and "
        "{}; give a directory, or download it first (hf download)."
    )
    if constants.HF_HUB_OFFLINE:
        raise BadRequestError(refusal.format("it is neither of the first two while HF_HUB_OFFLINE is set"))
    try:
        name, _, revision = named.partition("@")
        HfApi().model_info(
            name, revision=revision or None, timeout=HUB_S
        )  # one request: a download would try again for minutes
        directory = Path(
            snapshot_download(name, revision=revision or None, allow_patterns=list(FILES), etag_timeout=HUB_S)
        )
    except HfHubHTTPError as error:
        raise BadRequestError(refusal.format(f"the hub refused: {_first_line(error)}")) from error
    except Exception as error:  # a transport's own errors: no name, no route, no answer in time
        raise BadRequestError(
            refusal.format(f"the hub could not be reached ({type(error).__name__}: {_first_line(error)})")
        ) from error
    if not revision:  # a name is a branch, which moves
        print(f"The hub's {name} is at {directory.name}: --model {name}@{directory.name} takes the same files again.")
    return directory


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [""])[0]


# ---------------------------------------------------------------- loading
def load(named: str, args: argparse.Namespace) -> Loaded:
    """Load a model with its trainable part, and its tokenizer.

    Args:
        named: a directory with a model or an adapter, or a name on the hub.
        args: the resolved flags of a training command. `lora_rank` and `lora_alpha` are of a new adapter; an adapter's directory keeps its own.

    Raises:
        BadRequestError: there is no such model, it does not load, it has no chat template, or an adapter is asked for in full.
        OpenSOCError: Unsloth is not installed.
    """
    path, unsloth = local_directory(named), args.backend == "unsloth"
    adapter = is_adapter(path)
    if adapter and args.full:
        raise BadRequestError(
            f"Expected a model for --full, and {named!r} is an adapter; leave out --full, or merge it into its base first."
        )
    with loading(path):
        base = base_name(path) if adapter else named
        directory = local_directory(base) if adapter else path
        if unsloth:
            model, tokenizer = _unsloth_model(path, args.full, args.max_length), load_tokenizer(path, directory)
        else:
            model, tokenizer = load_model(path, base=directory, dtype=_dtype(args.full), trainable=True)
        if not (args.full or adapter):
            model = _with_unsloth(model, args) if unsloth else _with_adapter(model, args)
    if not args.full:
        # the name, not this machine's cache: the adapter is to work elsewhere
        name = str(Path(base).resolve()) if Path(base).is_dir() else base
        model.peft_config["default"].base_model_name_or_path = name
    _prepare_template(tokenizer, named)
    longest = int(getattr(model.config, "max_position_embeddings", None) or 1 << 30)
    return Loaded(model, tokenizer, not args.full, min(longest, args.max_length or longest))


def _dtype(full: bool) -> str:
    """Choose the weights' type: float32 where all are trained, under a bf16 autocast; bf16 where a GPU keeps them frozen."""
    import torch

    return "bfloat16" if not full and torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"


def _with_adapter(model: Any, args: argparse.Namespace) -> Any:
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    set_seed(args.seed)
    return get_peft_model(
        model,
        LoraConfig(
            r=args.lora_rank,
            lora_alpha=args.lora_alpha,
            lora_dropout=0.0,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        ),
    )


def prepare(backend: str) -> None:
    """Check that the libraries of a backend are installed, import them in the order that they need, and silence them.

    Raises:
        BadRequestError: a library is not installed.
        OpenSOCError: Unsloth is not installed, or finds no GPU.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if backend == "unsloth":
        require_unsloth()
    require_trl()
    import datasets
    import transformers
    from huggingface_hub import constants

    constants.HF_HUB_DISABLE_TELEMETRY = True  # even if it was imported before
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()


def require_trl() -> None:
    """Check that the training libraries are installed.

    Raises:
        BadRequestError: a library is not installed.
    """
    try:
        import accelerate  # noqa: F401
        import datasets  # noqa: F401
        import peft  # noqa: F401
        import torch  # noqa: F401
        import trl  # noqa: F401
    except ImportError as error:
        raise BadRequestError(
            f"Expected {error.name} for training, and it is not installed; `pip install -r requirements-train.txt` after torch."
        ) from error


UNSLOTH_TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def require_unsloth() -> None:
    """Import Unsloth before trl and transformers, as it replaces parts of both."""
    try:
        import unsloth  # type: ignore[import-not-found, unused-ignore]  # noqa: F401
    except ImportError as error:
        raise OpenSOCError(
            "Expected Unsloth for --backend unsloth, and it is not installed; make an environment with a GPU build of torch and "
            "`pip install -r requirements-unsloth.txt`, or use --backend trl."
        ) from error
    except NotImplementedError as error:  # Unsloth's way to say that there is no GPU
        raise OpenSOCError(
            f"Expected a GPU for --backend unsloth, and Unsloth says: {_first_line(error)}; use --backend trl."
        ) from error


def _unsloth_model(path: Path, full: bool, max_length: int | None) -> Any:
    from unsloth import FastLanguageModel  # type: ignore[import-not-found, unused-ignore]

    model, _ = FastLanguageModel.from_pretrained(
        model_name=str(path),
        max_seq_length=max_length or 8192,
        dtype=None,
        load_in_4bit=False,
        full_finetuning=full,
    )
    return model


def _with_unsloth(model: Any, args: argparse.Namespace) -> Any:
    from unsloth import FastLanguageModel

    return FastLanguageModel.get_peft_model(
        model,
        r=args.lora_rank,
        lora_alpha=args.lora_alpha,
        lora_dropout=0,
        bias="none",
        target_modules=list(UNSLOTH_TARGETS),
        use_gradient_checkpointing="unsloth" if args.checkpointing else False,
        random_state=args.seed,
    )


# ---------------------------------------------------------------- chat template and lengths
def _prepare_template(tokenizer: Any, named: str) -> bool:
    """Check that the template renders a system message, and return whether it had to be extended.

    Raises:
        BadRequestError: there is no chat template, or it cannot render a conversation.
    """
    if not isinstance(tokenizer.chat_template, str):
        raise BadRequestError(
            f"Expected a chat template in the tokenizer of {named!r}, and it has none; take an instruction-tuned model, or save one with it."
        )
    chat = [{"role": "system", "content": "SYSTEM TEXT"}, {"role": "user", "content": "USER TEXT"}]

    def renders_both() -> bool:
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return "SYSTEM TEXT" in text and "USER TEXT" in text

    with suppress(Exception):  # a template is a program, and may raise anything
        if renders_both():
            return False
    tokenizer.chat_template = FOLD + tokenizer.chat_template
    try:
        if not renders_both():
            raise ValueError("the messages are not in what it renders")
    except Exception as error:
        raise BadRequestError(
            f"Expected the chat template of {named!r} to render a conversation, and it does not: {error}."
        ) from error
    print(f"{named} knows no system role: the system text stands at the head of the user message.", file=sys.stderr)
    return True


def lengths(tokenizer: Any, prompts: Sequence[Messages], answers: Sequence[str] | None = None) -> list[int]:
    """Return the tokens of each prompt as the model sees it, with its answer if answers are given."""
    chats = [
        prompt if answers is None else [*prompt, {"role": "assistant", "content": answers[index]}]
        for index, prompt in enumerate(prompts)
    ]
    texts = [
        tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=answers is None) for chat in chats
    ]
    return [len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]] if texts else []


def answer_room(tokenizer: Any, density: Density) -> int:
    """Return the tokens that an answer gets: the longest right answer of the frozen rows and an eighth more."""
    texts = [answer_text(row["observation"], density) for row in frozen()]
    return room_for([len(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]])


def room_for(sizes: Sequence[int]) -> int:
    """Return the tokens that an answer gets where right ones have so many: the most, and an eighth more."""
    return max(sizes) * 9 // 8 + 2
