"""Places shared among addresses: nobody is locked out by one who takes all, over HTTP, WebSockets and MCP."""

import asyncio
import contextlib
import random

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app_runtime.openenv import ServedEnv
from app_runtime.quota import HOLDER, NoPlaceError, Shares
from app_runtime.sessions import Sessions
from app_runtime.shapes import OpenSOCAction, OpenSOCObservation
from conftest import ROOT
from env import OpenSOCEnv
from local_provider import ServerProcess
from service import TRIAGE, problem, strict

DIRECT = {"trust_env": False, "timeout": 120}
GREEDY, OTHER = "192.0.2.1", "192.0.2.2"


# ---------------------------------------------------------------- the rule
def shares(held, places=6, **options):
    """Places of which each caller of `held` has those named, a capital for a spent one."""
    made = Shares(places, **options)
    for holder, items in held.items():
        for item in items:
            made.put(item, holder, is_spent=item.isupper())
    return made


@pytest.mark.parametrize(
    ("held", "newcomer", "loser"),
    [
        ({"a": "pqrst"}, "b", None),  # one place is free
        ({"a": "pqrstu"}, "b", "p"),
        ({"a": "pqrSTu"}, "b", "S"),  # a spent one goes first
        ({"a": "pqrs", "b": "xy"}, "b", "p"),
        ({"a": "pqr", "b": "xyz"}, "c", "p"),
        ({"a": "pqrs", "b": "XY"}, "b", "p"),  # nobody gives while another has more
        ({"a": "pQrs", "b": "xy"}, "a", "Q"),
        ({"a": "Pqr", "b": "Xyz"}, "b", "X"),  # who holds as many as any gives one of his own
        ({"a": "p", "b": "q", "c": "r", "d": "s", "e": "t", "f": "u"}, "g", "p"),
    ],
)
def test_the_greediest_gives_what_it_used_least_recently(held, newcomer, loser):
    assert shares(held).to_give_up(newcomer) == loser


@pytest.mark.parametrize("held", [{"a": "pqrstu"}, {"a": "pqr", "b": "xyz"}, {"a": "pqrs", "b": "XY"}])
def test_who_holds_most_gets_no_other_place(held):
    with pytest.raises(NoPlaceError, match=rf"All 6 places are taken, {len(held['a'])} of them by your address."):
        shares(held).to_give_up("a")


def test_two_who_take_turns_do_not_throw_each_other_out_for_ever():
    both = shares({"a": "pqrst", "b": "xy"}, places=7)
    both.remove(both.to_give_up("b"))
    both.put("z", "b")
    assert (both.held("a"), both.held("b")) == (4, 3)
    for holder in "ab":
        with pytest.raises(NoPlaceError):
            both.to_give_up(holder)


def test_use_and_spending_decide_the_order():
    made = shares({"a": "pqrstu"})
    made.put("p", "a")
    assert made.to_give_up("b") == "q"
    made.put("u", "a", is_spent=True)
    assert made.to_give_up("b") == "u"


def test_a_quota_holds_where_places_are_free():
    made = shares({"a": "pqR"}, share=0.5)
    assert made.to_give_up("a") == "R"
    made.remove("R")
    made.put("r", "a")
    with pytest.raises(NoPlaceError):
        made.to_give_up("a")
    assert made.to_give_up("b") is None


def test_counts_agree_with_a_plain_list():
    draw, made, plain = random.Random(5), Shares(40), {}
    for item in range(3000):
        holder = f"h{min(draw.randrange(12), draw.randrange(12))}"
        try:
            loser = made.to_give_up(holder)
        except NoPlaceError:
            assert len(plain) == 40
            counts = [list(plain.values()).count(each) for each in set(plain.values())]
            assert list(plain.values()).count(holder) + 1 >= max(counts)
            continue
        if loser is not None:
            assert list(plain.values()).count(plain[loser]) == max(
                list(plain.values()).count(h) for h in plain.values()
            )
            made.remove(loser)
            del plain[loser]
        made.put(item, holder)
        plain[item] = holder
        if draw.random() < 0.1:
            gone = draw.choice(sorted(plain))
            made.remove(gone)
            del plain[gone]
        assert len(made) == len(plain) <= 40
        assert made.held(holder) == list(plain.values()).count(holder)


# ---------------------------------------------------------------- a clock that jumps
class Clock:
    """A clock that moves when it is told to."""

    now = 1000.0

    def __call__(self):
        return self.now


def make_sessions(clock):
    def make():
        return ServedEnv(make_env=OpenSOCEnv, episodes=None)

    make.SUPPORTS_CONCURRENT_SESSIONS = True
    options = {"sockets": 4, "socket_idle_s": 3600, "detached": 4, "detached_idle_s": 600, "clock": clock}
    return Sessions(make, OpenSOCAction, OpenSOCObservation, **options)


def test_idle_times_follow_the_clock_that_does_not_jump(monkeypatch):
    clock = Clock()

    async def play():
        sessions = make_sessions(clock)
        session_id, _ = await sessions._create_session()
        monkeypatch.setattr("time.time", lambda: 4e9)  # the wall's clock jumps a century ahead
        clock.now += 599
        await sessions.end_idle()
        kept = session_id in sessions._sessions
        sessions._update_session_activity(session_id)
        clock.now += 599
        await sessions.end_idle()
        used = session_id in sessions._sessions
        clock.now += 2
        await sessions.end_idle()
        return kept, used, session_id in sessions._sessions, len(sessions._by_env)

    assert asyncio.run(play()) == (True, True, False, 0)


def test_a_session_that_its_client_closed_gives_its_place_back():
    async def play():
        sessions = make_sessions(Clock())
        HOLDER.set(GREEDY)
        session_id, env = await sessions._create_session()
        executor = sessions._session_executors.pop(session_id)
        del sessions._sessions[session_id]  # as the SDK does for openenv/session/close
        await sessions._cleanup_session_resources(env, executor, None)
        return len(sessions._shares[False]), len(sessions._by_env)

    assert asyncio.run(play()) == (0, 0)


# ---------------------------------------------------------------- over sockets
@pytest.fixture(scope="module")
def small():
    """A server of few places; behind the loopback, which it trusts, callers have the addresses they name."""
    env = {
        "OPENSOC_DEMO": "0",
        "OPENSOC_MAX_EPISODES": "4",
        "OPENSOC_MAX_SESSIONS": "4",
        "OPENSOC_MAX_MCP_SESSIONS": "4",
    }
    with ServerProcess(ROOT, env=env) as process:
        yield process.base_url
        assert "Traceback" not in process.logs()


def caller(url, address):
    return httpx.Client(base_url=url, headers={"X-Forwarded-For": address}, **DIRECT)


def test_one_who_takes_all_episodes_makes_room_for_others_and_gets_no_more_himself(small):
    with caller(small, GREEDY) as greedy, caller(small, OTHER) as other:
        taken = [greedy.post("/reset").json()["episode_id"] for _ in range(4)]
        assert "4 of them by your address" in problem(greedy.post("/reset"), 429)
        mine = other.post("/reset").json()["episode_id"]
        assert greedy.get("/state", params={"episode_id": taken[0]}).status_code == 404
        assert greedy.post("/reset").status_code == 429
        assert [greedy.get("/state", params={"episode_id": each}).status_code for each in taken[1:]] == [200] * 3
        assert other.post("/step", params={"episode_id": mine}, json={"submit_triage": TRIAGE}).json()["done"] is True


def test_one_who_takes_all_mcp_sessions_makes_room_for_others(small):
    create = {"jsonrpc": "2.0", "id": 1, "method": "openenv/session/create", "params": {}}
    with caller(small, GREEDY) as greedy, caller(small, OTHER) as other:
        taken = [greedy.post("/mcp", json=create).json()["result"]["session_id"] for _ in range(4)]
        assert "4 of them by your address" in greedy.post("/mcp", json=create).json()["error"]["message"]
        mine = other.post("/mcp", json=create).json()["result"]["session_id"]
        found = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
        alive = [
            "result" in other.post("/mcp", json=found | {"params": {"session_id": each}}).json()
            for each in [*taken, mine]
        ]
        assert alive == [False, True, True, True, True]
    with socket_of(small, OTHER) as ws:  # sessions without a socket take no place of one
        assert reset(ws) == "observation"


def socket_of(url, address):
    return connect(
        "ws" + url[4:] + "/ws", proxy=None, open_timeout=120, additional_headers={"X-Forwarded-For": address}
    )


def reset(ws):
    ws.send('{"type":"reset","data":{}}')
    return strict(ws.recv())["type"]


def test_one_who_holds_all_sockets_makes_room_for_others_and_is_told(small):
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket_of(small, GREEDY)) for _ in range(4)]
        assert [reset(ws) for ws in held] == ["observation"] * 4
        held[0].send('{"type":"state"}')  # which counts as use
        assert strict(held[0].recv())["type"] == "state"
        with socket_of(small, GREEDY) as more:
            refused = strict(more.recv())["data"]
        assert (refused["code"], refused["max_sessions"]) == ("CAPACITY_REACHED", 4)
        with socket_of(small, OTHER) as ws:
            assert reset(ws) == "observation"
            assert "gave its own to a newcomer" in strict(held[1].recv())["data"]["message"]
            with pytest.raises(ConnectionClosed) as closed:
                held[1].recv()
            assert closed.value.rcvd.code == 1013
            assert [reset(held[each]) for each in (0, 2, 3)] == ["observation"] * 3


def test_places_are_full_only_where_nobody_greedy_could_give_one_up():
    many = Shares(20)
    for number in range(20):
        many.put(number, "greedy" if number < 3 else str(number))
    assert not many.is_full
    many.remove(0)
    many.put(0, "another")
    assert many.is_full
    many.remove(5)
    assert not many.is_full
