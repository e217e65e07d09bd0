"""Self-play for outside trainers, in 60 lines each: `pettingzoo_loop` and `trl_loop`."""
