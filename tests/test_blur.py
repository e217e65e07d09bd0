"""Blurred prompts: words of the lines at which rules look mean nothing, all else stays."""

import re
from random import Random

from generator.incidents import generate
from players.prompt import answer_text, user_text
from scenario import Scenario
from train.blur import blurred
from train.data import training_row

NOTES = re.compile(r" (?:names|is|rules|during|near)=\S+| L\d+-\d+$|@[a-z]+\d+|\d+|^\S+ \w+\.")


def prompts(number):
    for seed in range(number):
        observation = Scenario(generate("stage3_mixed", seed)).view()
        yield user_text(observation, "compact"), answer_text(observation, "compact")


def test_notes_names_numbers_and_lines_without_rules_stay():
    changed = 0
    for seed, (prompt, answer) in enumerate(prompts(30)):
        for before, after in zip(prompt.split("\n"), blurred(prompt, answer, Random(seed)).split("\n"), strict=True):
            if " rules=" not in before:
                assert after == before
            assert NOTES.findall(after) == NOTES.findall(before)
            assert re.findall(r" (\w+)=", after) == re.findall(r" (\w+)=", before)
            changed += after != before
    assert changed > 100


def test_the_words_of_the_right_answer_stay():
    for seed, (prompt, answer) in enumerate(prompts(30)):
        needed, before, after = (
            set(re.findall(r"[a-z]{3,}", text.lower())) for text in (answer, prompt, blurred(prompt, answer, Random(seed)))
        )
        assert needed & before == needed & after


def test_a_word_becomes_the_same_word_everywhere():
    prompt = "+1 file.create file_path=D:\\Lantern\\Lantern.txt rules=unit-written L1-0\n+1 file.create file_path=D:\\Lantern rules=unit-written L1-1"
    first, second = blurred(prompt, "", Random(2)).split("\n")
    word = re.search(r"file_path=D:\\(\w+) ", second)[1]
    assert word != "Lantern"
    assert f"D:\\{word}\\{word}." in first


def test_training_rows_are_blurred_as_often_as_is_asked_and_their_label_stays():
    plain = [training_row(5, index) for index in range(60)]
    some = [training_row(5, index, blur=0.5) for index in range(60)]
    assert 15 < sum("chat" in row for row in some) < 45
    assert [row["ground_truth"] for row in some] == [row["ground_truth"] for row in plain]
    assert not any("chat" in row for row in plain)
    assert some == [training_row(5, index, blur=0.5) for index in range(60)]
