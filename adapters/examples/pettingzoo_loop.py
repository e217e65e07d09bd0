"""Self-play in PettingZoo, each seat learning in turn (`Policy` stands for yours): `main()` plays and prints mean rewards."""

import re
import zlib

import numpy as np

from adapters.pettingzoo_env import ATTACKER, DEFENDER, SelfPlayEnv, craft_menu
from env import Archive

WORDS = 4096  # weights of a choice, to which the words of a text are hashed
SIZES = {name: int(space.n) for name, space in craft_menu().items()}
MENUS = {ATTACKER: [dict(zip(SIZES, numbers, strict=True)) for numbers in np.ndindex(*SIZES.values())]}
MENUS[DEFENDER] = [{"action": action, "cite": 0} for action in range(5)]


class Policy:
    """A softmax over the choices of a menu, linear in the words that it reads (none: a bandit), trained by REINFORCE."""

    def __init__(self, choices: int, *, reads: bool) -> None:
        self.weights, self.reads, self.rate, self.usual = np.zeros((choices, WORDS)), reads, 0.02 if reads else 0.5, 0.0

    def odds(self, text: str) -> tuple[np.ndarray, list[int]]:
        words = {zlib.crc32(word.encode()) % WORDS for word in re.findall(r"[a-z_.]{5,}", text) if self.reads} or {0}
        scores = np.exp(self.weights[:, sorted(words)].sum(axis=1))
        return scores / scores.sum(), sorted(words)

    def learn(self, text: str, choice: int, reward: float) -> None:
        odds, words = self.odds(text)
        self.usual += 0.05 * (reward - self.usual)
        self.weights[:, words] += self.rate * (reward - self.usual) * (np.eye(len(odds))[choice] - odds)[:, None]


def play(game: SelfPlayEnv, policies: dict[str, Policy], learner: str, rng: np.random.Generator) -> dict[str, float]:
    turns, rewards = {}, dict.fromkeys(policies, 0.0)
    game.reset(seed=int(rng.integers(2**31)))
    for agent in game.agent_iter():
        observation, reward, over, _, _ = game.last()
        rewards[agent] += reward
        if not over:
            odds = policies[agent].odds(observation["text"])[0]
            turns[agent] = observation["text"], int(rng.choice(len(odds), p=odds))
        game.step(None if over else MENUS[agent][turns[agent][1]])
    if learner in turns:  # a defender has no turn where the gate refuses the incident
        policies[learner].learn(*turns[learner], rewards[learner])
    return {agent: rewards[agent] for agent in turns}


def main(rounds: int = 4, episodes: int = 300) -> None:
    game, rng = SelfPlayEnv(density="compact", archive=Archive()), np.random.default_rng(0)
    policies = {name: Policy(len(menu), reads=name == DEFENDER) for name, menu in MENUS.items()}
    for learner in (ATTACKER, DEFENDER) * rounds:
        played = [play(game, policies, learner, rng) for _ in range(episodes)]
        means = {name: np.mean([rewards[name] for rewards in played if name in rewards]) for name in policies}
        print(f"{learner} learns; " + ", ".join(f"{name} {mean:+.3f}" for name, mean in means.items()))
