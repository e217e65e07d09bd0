"""How likely "nothing" must be: the bound that earns most on known and unknown families alike."""

from train.nano.caution import NEVER, Choice, choose_bound, is_doubted, reward_at

SURE = Choice(0.9999, 1.0, -0.5)  # right that there is nothing
DOUBTFUL = Choice(0.93, -0.5, 1.0)  # wrong, and less sure
FOUND = Choice(None, 0.4, 0.4)


def test_a_reply_is_doubted_below_the_bound_and_where_it_says_nothing_only():
    assert is_doubted(DOUBTFUL, 0.95)
    assert not is_doubted(DOUBTFUL, 0.93)
    assert not is_doubted(FOUND, NEVER)


def test_the_mean_reward_takes_the_likeliest_rule_where_nothing_is_doubted():
    assert reward_at([SURE, DOUBTFUL, FOUND], 0.0) == 0.9 / 3
    assert reward_at([SURE, DOUBTFUL, FOUND], 0.95) == 2.4 / 3
    assert reward_at([SURE, DOUBTFUL, FOUND], NEVER) == 0.9 / 3


def test_the_lowest_bound_with_the_best_mean_of_both_sets_is_chosen():
    assert choose_bound([[SURE, DOUBTFUL], [FOUND]]) == 0.95
    assert choose_bound([[SURE], [FOUND]]) == 0.0
    # one incident of the second set weighs as much as ten of the first
    assert choose_bound([[Choice(0.93, 0.5, 0.4)] * 10, [DOUBTFUL]]) == 0.95
