"""Who may stay connected to the API: whoever has shown a token, and of strangers those who came last."""

from turnout.control.crowd import (
    ACCEPTED_PER_TURN,
    ANSWER_S,
    CONNECTIONS_MAX,
    HEAD_S,
    STRANGERS_PER_PEER_MAX,
    TURNS_MIN,
    Crowd,
)


def test_of_one_peer_s_silent_connections_the_oldest_gives_way() -> None:
    crowd = Crowd()
    for number in range(STRANGERS_PER_PEER_MAX):
        assert crowd.arrived(number, "a", 0.0) == []
    assert crowd.arrived("owner", "a", 0.0) == [0]
    assert crowd.arrived("other", "b", 0.0) == []
    crowd.asked("owner", 0.0)
    assert crowd.arrived("more", "a", 0.0) == [1]
    assert len(crowd) == STRANGERS_PER_PEER_MAX + 1


def test_whatever_comes_a_new_connection_has_some_turns_of_the_loop_to_show_its_token() -> None:
    crowd = Crowd()
    for number in range(STRANGERS_PER_PEER_MAX):
        crowd.arrived(number, "a", 0.0)
    crowd.arrived("owner", "a", 0.0)
    gone = [crowd.arrived((turn, n), "a", 0.0) for turn in range(TURNS_MIN) for n in range(ACCEPTED_PER_TURN + 1)]
    assert TURNS_MIN >= 6
    assert ["owner"] not in gone


def test_of_many_peers_the_oldest_stranger_of_all_gives_way() -> None:
    crowd = Crowd()
    for number in range(CONNECTIONS_MAX):
        assert crowd.arrived(number, str(number), 0.0) == []
    assert crowd.arrived("new", "new", 0.0) == [0]
    assert len(crowd) == CONNECTIONS_MAX


def test_who_has_shown_a_token_gives_way_to_nobody() -> None:
    crowd = Crowd()
    for number in range(CONNECTIONS_MAX):
        crowd.arrived(number, str(number), 0.0)
        crowd.admitted(number)
    assert crowd.arrived("new", "new", 0.0) == ["new"]
    assert crowd.late(1e9) == []
    crowd.answered(7, 1.0)
    assert crowd.arrived("new", "new", 1.0) == [7]


def test_a_head_and_what_follows_without_a_token_have_their_time() -> None:
    crowd = Crowd()
    crowd.arrived("silent", "a", 0.0)
    crowd.arrived("slow", "a", 0.0)
    crowd.asked("slow", 5.0)
    assert crowd.late(HEAD_S - 1) == []
    assert crowd.late(HEAD_S) == ["silent"]
    assert crowd.late(HEAD_S) == []
    assert crowd.late(5.0 + ANSWER_S) == ["slow"]
    assert len(crowd) == 0


def test_after_an_answer_the_next_head_has_its_time() -> None:
    crowd = Crowd()
    crowd.arrived("kept", "a", 0.0)
    crowd.asked("kept", 1.0)
    crowd.answered("kept", 2.0)
    assert crowd.late(2.0 + HEAD_S - 1) == []
    assert crowd.late(2.0 + HEAD_S) == ["kept"]


def test_what_is_closed_is_forgotten_whatever_it_did() -> None:
    crowd = Crowd()
    for key in ("stranger", "friend", "gone"):
        crowd.arrived(key, "a", 0.0)
    crowd.admitted("friend")
    for key in ("stranger", "friend", "gone"):
        crowd.left(key)
        crowd.left(key)
    crowd.admitted("gone")
    crowd.answered("gone", 0.0)
    assert (len(crowd), crowd._per_peer) == (0, {})
