"""Time the plain loop beside plain transformers for whoever changes it, in one run: python scripts/bench_train.py [--preset nano] [--rows 24]

The command prints tokens a second of SFT (prompt and answer, forward and backward) and of generation (eight answers to each prompt, answer tokens counted), each
beside what transformers does with the same model on the same rows, with the ratio. It also prints the share of a GRPO step that computing rewards takes (bound: 1 %).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

BATCH, GROUP, LONGEST, BOUND = 8, 8, 16, 0.01


def timed(work: Callable[[], int]) -> float:
    """Measure the tokens a second of work that returns how many tokens it did, the best of three."""
    best = 0.0
    for _ in range(3):
        began = time.perf_counter()
        tokens = work()
        best = max(best, tokens / (time.perf_counter() - began))
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--preset", default="nano", help="which size (default: nano)")
    parser.add_argument("--rows", type=int, default=24, metavar="N", help="incidents of all tasks (default: 24)")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="cores (default: 2)")
    args = parser.parse_args()

    import torch

    from players.codec import PromptCodec
    from players.decode import answers
    from players.prompt import user_text
    from train.data import fresh, training_row
    from train.nano import model as tiny
    from train.nano.loop import Loop, Plan
    from train.nano.objectives import GRPO, Supervised
    from train.nano.presets import PRESETS

    tokenizer = tiny.train_tokenizer(
        (user_text(row["observation"], "compact") for row in fresh(9, number=1000)),
        PRESETS[args.preset].vocabulary,
    )
    model, coder = tiny.make(args.preset, tokenizer), PromptCodec(tokenizer)
    rows = list(fresh(8, number=args.rows))
    prompts, right = [coder.prompt(row) for row in rows], [coder.answer(row) for row in rows]
    weights = list(model.parameters())

    def looped(objective: Any, steps: int) -> list[dict[str, Any]]:
        logs: list[dict[str, Any]] = []
        with tempfile.TemporaryDirectory() as out:
            plan = Plan(Path(out), steps=steps, batch=args.rows, threads=args.threads, lr=1e-5)
            Loop(plan, lambda: (model, tokenizer), about={}, notice=logs.append).run(
                partial(training_row, 8), objective
            )
        return logs

    def plain_sft() -> int:
        """Train as a stock trainer does: batches padded to the longest, logits for all tokens, labels on the answer."""
        torch.set_num_threads(args.threads)
        done = 0
        for first in range(0, len(rows), BATCH):
            both = [a + b for a, b in zip(prompts[first : first + BATCH], right[first : first + BATCH], strict=True)]
            longest = max(map(len, both))
            ids = torch.tensor([one + [coder.tokenizer.pad_token_id] * (longest - len(one)) for one in both])
            labels, mask = torch.full_like(ids, -100), torch.zeros_like(ids)
            for place, (one, answer) in enumerate(zip(both, right[first : first + BATCH], strict=True)):
                labels[place, len(one) - len(answer) : len(one)] = torch.tensor(answer)
                mask[place, : len(one)] = 1
            torch.autograd.grad(model(ids, attention_mask=mask, labels=labels).loss, weights)
            done += sum(map(len, both))
        return done

    def our_generation() -> int:
        from concurrent.futures import ThreadPoolExecutor

        torch.set_num_threads(1)
        parts = [range(first, min(first + BATCH, len(rows))) for first in range(0, len(rows), BATCH)]
        ask = partial(answers, model, number=GROUP, temperature=1.0, longest=LONGEST, end=coder.end)
        with ThreadPoolExecutor(args.threads) as pool:
            drawn = list(pool.map(lambda part: ask([prompts[place] for place in part], seeds=list(part)), parts))
        return sum(len(tokens) for part in drawn for one in part for tokens in one.tokens)

    def plain_generation() -> int:
        torch.set_num_threads(args.threads)
        done = 0
        for first in range(0, len(rows), BATCH):
            batch = tokenizer.pad(
                {"input_ids": prompts[first : first + BATCH]}, padding_side="left", return_tensors="pt"
            )
            made = model.generate(
                **batch, do_sample=True, max_new_tokens=LONGEST, num_return_sequences=GROUP, eos_token_id=coder.end
            )
            new = made[:, batch["input_ids"].shape[1] :]
            done += int((new != coder.tokenizer.pad_token_id).sum())
        return done

    steps = looped(Supervised(), 3)
    ours = max(step["tokens"] / step["step_s"] for step in steps)
    theirs = timed(plain_sft)
    print(
        f"SFT          {ours:8,.0f} tokens/s, optimizer included; plain transformers {theirs:8,.0f}; ratio {ours / theirs:.2f}"
    )
    ours, theirs = timed(our_generation), timed(plain_generation)
    print(f"generation   {ours:8,.0f} tokens/s; plain transformers {theirs:8,.0f}; ratio {ours / theirs:.2f}")
    looped(Supervised(), 1)
    steps = looped(GRPO(table="hardened", group=GROUP), 3)
    share = sum(step["judging_s"] for step in steps) / args.threads / sum(step["step_s"] for step in steps)
    made = sum(step["made_s"] for step in steps) / sum(step["step_s"] for step in steps)
    print(f"GRPO         rewards take {share:.2%} of a step (bound: {BOUND:.0%}); making the incidents {made:.2%}")


if __name__ == "__main__":
    main()
