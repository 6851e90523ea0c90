"""How devices fare, by platform and app version: who asks, who trains, who is counted, who never is.

For people; nothing decides by it. What devices say of themselves is not proven, so there may be any number of groups:
those beyond a bound are taken together.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec

from turnout.job.account.tally import count_reason
from turnout.job.places.leases import Lease, LiveLeases
from turnout.messages import DeviceInfo, FleetGroup
from turnout.text.printable import label

GROUPS_MAX = 50
ZEROS_TOLD = 10  #: After this many updates of zeros, and no other, a group is said not to train.
MESSAGE_CHARS_MAX = 200  #: Of what a refused device was told.

BAD_IN_A_ROW = 10  #: Refused results of a group, with none counted between them, that a person should know of.

Key = tuple[str, str]  #: (platform, app version)
OTHER: Key = ("other", "")  #: All groups beyond the bound, and devices of which only a hash is known any more.


class Counts(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Of one group, as a snapshot holds them. Earlier releases wrote the first five, or six."""

    asked: int = 0
    given: int = 0
    counted: int = 0
    refused: int = 0
    lost: int = 0
    zeros: int = 0
    refusals: dict[str, int] = {}  #: By reason.
    newest_refusal: str = ""  #: What the device was told.


class SavedGroups(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The counts, as of a commit."""

    groups: tuple[tuple[Key, Counts], ...] = ()


@dataclass(slots=True)
class Groups:
    """Counts since the first start of the job, as far as its journal remembers.

    Who trains is known by the leases, which say of which group their devices are; those of an earlier release do not.
    """

    _groups: dict[Key, Counts] = field(default_factory=dict)
    _training: dict[bytes, Key] = field(default_factory=dict)  # by device hash; of live leases, so bounded by places
    _bad: dict[Key, int] = field(default_factory=dict)  # refused in a row

    def asked(self, device: DeviceInfo) -> Key:
        """A device asks; returns the key of its group."""
        key = _key(device)
        self._of(key).asked += 1
        return key

    def granted(self, device_hash: bytes, key: Key, new: bool) -> None:
        """A device of this group has a lease, ``new`` or the one that it had."""
        self._training[device_hash] = key
        self._of(key).given += new

    def counted(self, device_hash: bytes, device: DeviceInfo, zeros: bool = False) -> str:
        """``zeros``: every number of the update is 0. Returns what a person should now know; mostly nothing."""
        key = self._training.get(device_hash) or _key(device)
        group = self._of(key)
        group.counted += 1
        group.zeros += zeros
        self._bad.pop(key, None)
        if not zeros or group.zeros != group.counted or group.zeros != ZEROS_TOLD:
            return ""
        return f"all {ZEROS_TOLD} updates of {_words(key)}, are zeros: it does not train"

    def refused(
        self, device_hash: bytes, device: DeviceInfo, reason: str, message: str, *, bad: bool, zeros: bool = False
    ) -> str:
        """A result was refused; ``bad``: for what it is, not for when it came.

        Returns what a person should know: once, when all that a group sends is bad. Else nothing.
        """
        key = self._training.get(device_hash) or _key(device)
        group = self._of(key)
        group.refused += 1
        group.zeros += zeros
        count_reason(group.refusals, reason)
        group.newest_refusal = message[:MESSAGE_CHARS_MAX]
        if not bad or key not in self._groups:
            return ""
        self._bad[key] = self._bad.get(key, 0) + 1
        if self._bad[key] != BAD_IN_A_ROW:
            return ""
        return f"the last {BAD_IN_A_ROW} results of {_words(key)}, were refused; the newest: {group.newest_refusal}"

    def refused_unknown(self, reason: str, many: int) -> None:
        """``many`` more, of devices that nobody knows any more."""
        group = self._of(OTHER)
        group.refused += many
        count_reason(group.refusals, reason, many)

    def reported(self, device_hash: bytes) -> None:
        """Its place is free."""
        self._training.pop(device_hash, None)

    def lost(self, device_hash: bytes) -> None:
        """Its lease expired."""
        self._of(self._training.pop(device_hash, OTHER)).lost += 1

    def forget_all_but(self, live: LiveLeases) -> None:
        """Other leases ended all at once."""
        self._training = {device: key for device, key in self._training.items() if live.of(device) is not None}

    def recover(self, leases: Iterable[Lease]) -> None:
        """These train, as an earlier process knew."""
        self._training = {lease.device: lease.group for lease in leases if lease.group is not None}

    def _of(self, key: Key) -> Counts:
        group = self._groups.get(key)
        if group is None:
            key = key if len(self._groups) < GROUPS_MAX else OTHER
            group = self._groups.setdefault(key, Counts())
        return group

    def shown(self) -> tuple[FleetGroup, ...]:
        """Those that ask most come first."""
        training = Counter(key if key in self._groups else OTHER for key in self._training.values())
        groups = sorted(self._groups.items(), key=lambda item: -item[1].asked)
        return tuple(
            FleetGroup(
                platform=key[0],
                app_version=key[1],
                asked=group.asked,
                given=group.given,
                training=training[key],
                counted=group.counted,
                refused=group.refused,
                lost=group.lost,
                zeros=group.zeros,
                refusals=dict(group.refusals),
                newest_refusal=group.newest_refusal,
            )
            for key, group in groups
        )

    def save(self) -> SavedGroups:
        return SavedGroups(tuple((key, _copy(group)) for key, group in self._groups.items()))

    def load(self, saved: SavedGroups) -> None:
        """Who trains now stays known."""
        self._groups = {key: _copy(counts) for key, counts in saved.groups}


def _key(device: DeviceInfo) -> Key:
    return label(device.platform), label(device.app_version)


def _copy(counts: Counts) -> Counts:
    return msgspec.structs.replace(counts, refusals=dict(counts.refusals))


def _words(key: Key) -> str:
    return f'platform "{key[0]}", app "{key[1]}"'
