"""Other names: rules that are called by each other's names, in prompt and answer alike."""

from pathlib import Path

import pytest

from players.codec import PromptCodec
from players.weights import load_tokenizer
from train.aliases import AliasCodec
from train.data import RENAMED, Shares, training_row
from verifier.rules import RULES

SHIPPED = Path("models/defender")


@pytest.fixture(scope="module")
def codecs():
    tokenizer = load_tokenizer(SHIPPED)
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    return PromptCodec(tokenizer), AliasCodec(tokenizer)


@pytest.fixture(scope="module")
def rows():
    return [training_row(5, index, shares=Shares(other_names=1.0)) for index in range(40)]


def rule_tokens(codec):
    return set(codec.tokenizer.convert_tokens_to_ids([rule.rule_id for rule in RULES]))


def test_a_row_that_asks_for_no_other_names_keeps_them(codecs):
    plain, alias = codecs
    row = training_row(5, 0)
    assert RENAMED not in row
    assert alias.lesson(row) == plain.lesson(row)


def test_prompt_and_answer_change_alike_and_nothing_else_does(codecs, rows):
    rules, changed = rule_tokens(codecs[0]), 0
    for row in rows:
        before, after = ([*prompt, *answer] for prompt, answer in (codec.lesson(row) for codec in codecs))
        names: dict[int, int] = {}
        for old, new in zip(before, after, strict=True):
            assert old == new or {old, new} <= rules
            assert names.setdefault(old, new) == new
        assert len(set(names.values())) == len(names)  # no two rules share a name
        changed += any(old != new for old, new in names.items())
    assert changed > 25


def test_a_rule_that_the_answer_alone_names_keeps_its_name(codecs, rows):
    plain, alias = codecs
    rules, kept = rule_tokens(plain), 0
    for row in rows:
        prompt, answer = plain.lesson(row)
        alone = rules & set(answer) - set(prompt)
        kept += len(alone)
        new = alias.lesson(row)[1]
        assert [new[place] for place, token in enumerate(answer) if token in alone] == [
            token for token in answer if token in alone
        ]
    assert kept


def test_the_same_row_gets_the_same_names(codecs, rows):
    _, alias = codecs
    assert [alias.lesson(row) for row in rows[:5]] == [alias.lesson(row) for row in rows[:5]]
