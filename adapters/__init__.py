"""OpenSOC where users already are: Gymnasium (`gym_env`), PettingZoo (`pettingzoo_env`), Inspect AI (`inspect_task`).

Each is a thin shape around `env` and `players.prompt`; nothing here judges an answer. Their libraries are optional.
"""
