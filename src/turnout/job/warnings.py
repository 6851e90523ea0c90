"""What a person should know about a job, such as lost work or a failing evaluation."""

from dataclasses import dataclass, field

WARNINGS_MAX = 20


@dataclass(slots=True)
class Warnings:
    """The newest of them, each once: what fails again and again fails for one reason."""

    newest: list[str] = field(default_factory=list)
    _untold: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if self.newest[-1:] != [text]:
            self._untold = [*self._untold, text][-WARNINGS_MAX:]
        self.newest = [*(other for other in self.newest if other != text), text][-WARNINGS_MAX:]

    def untold(self) -> list[str]:
        """Those since the last call."""
        told, self._untold = self._untold, []
        return told
