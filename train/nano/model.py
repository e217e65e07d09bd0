"""A small defender of our own: a Qwen2 causal LM made from a config, with a tokenizer trained on the environment's prompts.

It stands for a pretrained model where no weights can be had. Everything of it is the libraries' own: `AutoModelForCausalLM` and
`PreTrainedTokenizerFast` load what `checkpoint.save` wrote, with a ChatML template. The tokenizer splits at spaces, so that a name of the prompt is one token wherever
it stands (`@host1`, `L1-3`, ` device_hostname=`), falls back to bytes, and holds the fixed pieces of an answer as one token each.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from players.codec import CONTEXT, END, PAD, PIECES, START
from players.prompt import system_text
from players.reasons import BY_TOOL, NOT_EXPLAINED, PARTS, RUNGS, SCOPES, STRENGTHS, TOGETHER
from schema import LABELS, MAX_EVENTS, BadRequestError, log_id_at
from train.nano.presets import PRESETS
from verifier.rules import RULES

TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# What stays together: an entity's short name; name=value where the value is a plain word or number; a word with what ends it.
WORDS = r' ?@[a-z]+\d+| ?[a-z_]+=[a-z0-9_]+(?=[ \n]|$)| ?[^ \n=,"@\\]+(?:\\+|=)?|[ \n=,"@\\]'


# ---------------------------------------------------------------- tokenizer
def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """Train a byte-level BPE tokenizer with the ChatML template, from prompts (no labels: rule ids come from the list of rules).

    Args:
        texts: prompts as `players.prompt.user_text` writes them.
        vocabulary: tokens at most.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    answers = [f"{label}{piece}" for label in LABELS for piece in PIECES] + [*map(log_id_at, range(MAX_EVENTS))]
    answers += [
        f" {word}"
        for word in (
            *STRENGTHS,
            *SCOPES,
            "harm",
            *(f"{part}=" for part in PARTS),
            f"ok={NOT_EXPLAINED}",
            f"ok={BY_TOOL}",
        )
    ]
    answers += [f" so={rung}" for rung in (*RUNGS, f"{TOGETHER},")]
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, *["\n".join(answers)] * 2000], trainer)
    fast = wrap(tokenizer)
    fixed = (system_text({}, "compact"), *PIECES, *(rule.rule_id for rule in RULES))
    fast.add_tokens([AddedToken(piece, normalized=False) for piece in fixed])
    return fast


def wrap(tokenizer: Any, *, context: int = CONTEXT) -> Any:
    """Return a tokenizer of `tokenizers` as transformers has it, with the ChatML template.

    Args:
        tokenizer: holds the tokens that pad and that end an answer.
        context: tokens of a text at most.
    """
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        chat_template=TEMPLATE,
    )


def template_of(tokenizer: Any) -> tuple[str, str, str]:
    """Return what a chat template puts before, between and after a system and a user message.

    Raises:
        ValueError: it does not put each of them into a prompt once; the template itself may raise anything.
    """
    system, user = "[[system]]", "[[user]]"
    chat = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    before, rest = str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)).split(system)
    between, after = rest.split(user)
    return before, between, after


# ---------------------------------------------------------------- model
def make(preset: str, tokenizer: Any, *, seed: int = 0) -> Any:
    """Make a model with random weights: float32, tied embeddings.

    Raises:
        BadRequestError: no such preset.
    """
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    if preset not in PRESETS:
        raise BadRequestError(f"expected a preset, one of {', '.join(PRESETS)}; got {preset!r}")
    size = PRESETS[preset]
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden,
        intermediate_size=size.inner,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        attn_implementation="sdpa",
    )
    return Qwen2ForCausalLM(config)
