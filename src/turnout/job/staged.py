"""Results that are in the running sum and not known to be durable, and who waits to hear that they are."""

from dataclasses import dataclass, field

from turnout.job.events import Answer


@dataclass(slots=True)
class Staged:
    """By task number, in two parts: what came since the last commit began, and what that commit is writing."""

    fresh: dict[int, list[Answer]] = field(default_factory=dict)
    writing: dict[int, list[Answer]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.fresh) + len(self.writing)

    def add(self, task: int, answer: Answer) -> None:
        self.fresh[task] = [answer]

    def wait_with(self, task: int, answer: Answer) -> bool:
        """Answer a duplicate together with its first copy; False when that is durable already."""
        for part in (self.fresh, self.writing):
            if task in part:
                part[task].append(answer)
                return True
        return False

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
        """Whoever waits shall not wait any longer; the results stay what they are."""
        waiting = [answer for part in (self.writing, self.fresh) for answers in part.values() for answer in answers]
        for part in (self.writing, self.fresh):
            part.update((task, []) for task in part)
        return waiting

    def drop(self) -> None:
        """None of these results is in the sum any more."""
        self.fresh, self.writing = {}, {}
