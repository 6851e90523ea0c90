"""Results that are in the running sum and not known to be durable, and who waits to hear that they are."""

from dataclasses import dataclass, field

from turnout.job.core import answers
from turnout.job.core.events import Answer
from turnout.messages import ResultResponse

WAITING_MAX = 2  #: Copies of one result that wait for its commit; devices send another when a gateway has given up.


def send_again(answer: Answer, why: str) -> Answer:
    """Instead of ``answer``, to a device that is not to wait for the commit any longer; ``why`` as in ``answers``."""
    assert isinstance(answer.response, ResultResponse)
    return Answer(answer.ticket, answers.again(answer.response.task_id or "", why))


@dataclass(slots=True)
class Staged:
    """By task number, in two parts: what came since the last commit began, and what that commit is writing."""

    fresh: dict[int, list[Answer]] = field(default_factory=dict)
    writing: dict[int, list[Answer]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.fresh) + len(self.writing)

    def add(self, task: int, answer: Answer) -> None:
        self.fresh[task] = [answer]

    def __contains__(self, task: int) -> bool:
        return task in self.fresh or task in self.writing

    def wait_with(self, task: int, answer: Answer) -> list[Answer]:
        """Answer a copy of a staged result together with the others; returns those that may not wait any longer."""
        waiting = (self.fresh if task in self.fresh else self.writing)[task]
        waiting.append(answer)
        gone, waiting[:] = waiting[:-WAITING_MAX], waiting[-WAITING_MAX:]
        return gone

    def write(self) -> None:
        """A commit begins: it holds all that came until now."""
        assert not self.writing, "one commit at a time"
        self.fresh, self.writing = {}, self.fresh

    def written(self) -> list[Answer]:
        """The commit is durable: whom to tell."""
        waiting = [answer for answers in self.writing.values() for answer in answers]
        self.writing = {}
        return waiting

    def dismiss(self) -> list[Answer]:
        """Devices that wait shall not wait any longer; the results stay what they are."""
        waiting = [answer for part in (self.writing, self.fresh) for answers in part.values() for answer in answers]
        for part in (self.writing, self.fresh):
            part.update((task, []) for task in part)
        return waiting

    def drop(self) -> None:
        """None of these results is in the sum any more."""
        self.fresh, self.writing = {}, {}
