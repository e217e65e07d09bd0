"""Models in directories, as transformers and PEFT save them: which directory is one, what it was made of, and how it is loaded.

Nothing is downloaded: a directory that is not there is an error. Loading needs the extra `train` (torch, transformers, peft).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from players import smollm2
from players.base import MARK
from runs.extras import require
from schema import BadRequestError, OpenSOCError, unread

TEXT_VERSION = 3  # of the compact prompt and answer; a small model plays the version that it learned alone
ADAPTER = "adapter_config.json"
ABOUT, ABOUT_ATTACKER = "defender.json", "attacker.json"  # what describes an exported model, by the seat that it plays
ENDS = 65_536  # bytes at both ends of a weights file that its fingerprint covers
FINGERPRINTED = (".safetensors", ".bin", ".json", ".txt", ".model", ".jinja")


# ---------------------------------------------------------------- directories
def is_adapter(path: Path) -> bool:
    """Return whether a directory holds a PEFT adapter."""
    return (path / ADAPTER).is_file()


def is_exported(directory: Path) -> bool:
    """Return whether a directory looks like an exported model."""
    return about_file(directory).is_file()


def about_file(directory: Path) -> Path:
    """Return where an export's description is, or would be."""
    attacker = directory / ABOUT_ATTACKER
    return attacker if attacker.is_file() else directory / ABOUT


def is_model(path: Path) -> bool:
    """Return whether a directory looks like a model or an adapter."""
    return (path / "config.json").is_file() or is_adapter(path)


def fingerprint(path: Path) -> str:
    """Hash the names, sizes and both ends of a model's files: that tells apart all that training writes, without reading gigabytes."""
    digest = hashlib.sha256()
    for file in sorted(file for file in path.iterdir() if file.is_file() and file.suffix in FINGERPRINTED):
        size = file.stat().st_size
        with file.open("rb") as handle:
            digest.update(f"{file.name}\0{size}\0".encode() + handle.read(ENDS))
            handle.seek(max(0, size - ENDS))
            digest.update(handle.read(ENDS))
    return digest.hexdigest()


def base_name(adapter: Path) -> str:
    """Return the base model that an adapter names: a directory, seen from here or from the adapter's place, or else a hub's name.

    Raises:
        OSError, ValueError: the adapter's configuration cannot be read.
    """
    name = str(json.loads((adapter / ADAPTER).read_text("utf-8")).get("base_model_name_or_path"))
    return next((str(base) for base in (adapter / name, Path(name)) if is_model(base)), name)


def cached(name: str) -> Path | None:
    """Return the directory of a hub model (`NAME` or `NAME@REVISION`) in the local cache, or of `smollm2`; None if it is not there.

    Raises:
        MissingExtraError: `smollm2` is meant, and its package is not installed.
    """
    if name == smollm2.NAME:
        return smollm2.directory()
    from huggingface_hub import snapshot_download

    try:
        named, _, revision = name.partition("@")
        directory = Path(snapshot_download(named, revision=revision or None, local_files_only=True))
    except (OSError, ValueError):
        return None
    return directory if is_model(directory) else None


def _base_of(adapter: Path) -> Path:
    name = base_name(adapter)
    if is_model(Path(name)):
        return Path(name)
    if in_cache := cached(name):
        return in_cache
    raise BadRequestError(
        f"Expected the base model of the adapter {str(adapter)!r} in the directory {name!r} or in the local cache, and there is none; "
        f"download it, or correct base_model_name_or_path in {ADAPTER}."
    )


# ---------------------------------------------------------------- loading
@contextmanager
def loading(path: Path) -> Iterator[None]:
    """Turn whatever the libraries raise while a directory is loaded into one error.

    Raises:
        BadRequestError: loading failed.
    """
    try:
        yield
    except OpenSOCError:
        raise
    except Exception as error:  # transformers, safetensors, tokenizers and peft each have their own
        reason = (str(error).strip().splitlines() or [""])[0]
        raise BadRequestError(
            f"Expected a whole transformers model or PEFT adapter in {str(path)!r}, and loading it gave {type(error).__name__}: "
            f"{reason}; give a directory that save_pretrained wrote, with its tokenizer."
        ) from error


def load_model(
    path: Path, *, base: Path | None = None, dtype: str = "auto", trainable: bool = False
) -> tuple[Any, Any]:
    """Load the causal language model of a directory, and its tokenizer.

    Args:
        path: of a model, or of an adapter, which is put on its base model.
        base: an adapter's base model; None for the directory or the cached model that the adapter names.
        dtype: of the weights, by torch's name; `auto` for that of the files.
        trainable: whether an adapter's weights are to be trained.

    Raises:
        BadRequestError: there is no base model, or the directory cannot be loaded.
        OpenSOCError: torch, transformers or peft is not installed.
    """
    require("train", "torch", "transformers", *(["peft"] if is_adapter(path) else []))
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    with loading(path):
        if not is_adapter(path):
            return AutoModelForCausalLM.from_pretrained(path, dtype=dtype, local_files_only=True), load_tokenizer(path)
        from peft import PeftModel

        base = base or _base_of(path)
        model = AutoModelForCausalLM.from_pretrained(base, dtype=dtype, local_files_only=True)
        return PeftModel.from_pretrained(model, path, is_trainable=trainable), load_tokenizer(path, base)


def load_tokenizer(path: Path, base: Path | None = None) -> Any:
    """Load the tokenizer of a model's or adapter's directory, or of its base if it has none; it pads on the left.

    As tokenizer.json says, where there is one: for a Qwen2 model AutoTokenizer puts Qwen's way of splitting in the place of the file's.
    """
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    has_own = any((path / name).is_file() for name in ("tokenizer_config.json", "tokenizer.json"))
    directory = path if has_own else base or path
    kind = PreTrainedTokenizerFast if (directory / "tokenizer.json").is_file() else AutoTokenizer
    tokenizer = kind.from_pretrained(directory, local_files_only=True, padding_side="left")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


# ---------------------------------------------------------------- the text that a small model learned
def check_text_version(version: object, path: Path) -> None:
    """See that a small model learned this version of the compact text.

    Args:
        version: what is written beside the model; None where nothing is, which is version 1.
        path: of the model.

    Raises:
        BadRequestError: it learned another.
    """
    if (version or 1) != TEXT_VERSION:
        raise BadRequestError(
            f"Expected a model of version {TEXT_VERSION} of the compact text, and {str(path)!r} learned version {version or 1}: "
            "it would misread every prompt; train it anew, or play it with the release that made it."
        )


def text_version(path: Path) -> object:
    """Return the version of the compact text that stands beside a checkpoint; None if none does.

    Raises:
        BadRequestError: what stands there cannot be read.
    """
    try:
        about = json.loads((path / MARK).read_text("utf-8"))
        return about.get("text_version")
    except (OSError, ValueError, AttributeError) as error:
        raise BadRequestError(
            f"Expected {MARK} in {str(path)!r} as train.nano writes it, and got {unread(error)}."
        ) from error
