"""A language model of a few thousand weights with a tokenizer of the environment's own prompts, in a directory: trainers take it for a real one."""

import json

from players.prompt import answer_text, messages
from train.data import frozen

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def make_toy(path, *, template=CHATML, context=4096):
    """Write one to a directory, and return its path."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    # split at spaces and line ends alone
    words = Tokenizer(models.BPE())
    ends = pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.Split(" ", "merged_with_next")
    words.pre_tokenizer = pre_tokenizers.Sequence([*ends, pre_tokenizers.ByteLevel(False, use_regex=False)])
    words.decoder = decoders.ByteLevel()
    learn = trainers.BpeTrainer(
        vocab_size=1500,
        special_tokens=["<pad>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    rows = frozen(limit=40)
    texts = [message["content"] for row in rows for message in messages(row["observation"], "compact")]
    words.train_from_iterator([*texts, *(answer_text(row["observation"]) for row in rows)], learn)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, eos_token="<|im_end|>", pad_token="<pad>", chat_template=template
    )
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(0)
    Qwen2ForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def short_rows(path, number=8):
    """Write a frozen set's shortest rows to a file, and return its path: what they teach is not the point."""
    rows = sorted(frozen(), key=lambda row: len(messages(row["observation"], "compact")[1]["content"]))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:number]))
    return path


def weights(path):
    """The tensors of a saved model or adapter, by name."""
    from safetensors.torch import load_file

    return {name: value for file in sorted(path.glob("*.safetensors")) for name, value in load_file(file).items()}


def same(one, other):
    """Whether two directories hold the same tensors, to the last bit."""
    one, other = weights(one), weights(other)
    return one.keys() == other.keys() and all(bool((one[name] == other[name]).all()) for name in one)
