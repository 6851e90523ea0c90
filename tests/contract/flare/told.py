"""The dispatcher of a real job, but for single answers that a test puts before its own."""

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from turnout.dispatcher.room import Room
from turnout.dispatcher.service import EdgeTaskDispatcher
from turnout.messages import EdgeRequest, EdgeResponse


@dataclass(slots=True)
class Told:
    """``first`` are answers by kind of request; each is given once, and its request does not reach the job."""

    first: dict[type, deque[EdgeResponse]] = field(default_factory=lambda: defaultdict(deque))
    requests: list[EdgeRequest] = field(default_factory=list)
    _dispatcher: EdgeTaskDispatcher | None = None

    def before(self, dispatcher: EdgeTaskDispatcher) -> "Told":
        """Stand before this one."""
        self._dispatcher = dispatcher
        return self

    def say(self, kind: type, *answers: EdgeResponse) -> "Told":
        """Answer the next requests of this kind so."""
        self.first[kind].extend(answers)
        return self

    def submit(self, request: EdgeRequest, answer: Callable[[EdgeResponse], None], has_room: bool = False) -> None:
        self.requests.append(request)
        if waiting := self.first[type(request)]:
            answer(waiting.popleft())
        else:
            self._real.submit(request, answer, has_room)

    @property
    def room(self) -> Room:
        return self._real.room

    @property
    def _real(self) -> EdgeTaskDispatcher:
        assert self._dispatcher is not None, "before() has been called"
        return self._dispatcher
