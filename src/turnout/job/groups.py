"""How devices fare, by platform and app version: who asks, who trains, who is counted, who never is.

For people; nothing decides by it. What devices say of themselves is not proven, so there may be any number of groups:
those beyond a bound are taken together.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import astuple, dataclass, field

from turnout.job.leases import LiveLeases
from turnout.messages import DeviceInfo, FleetGroup
from turnout.printable import label

GROUPS_MAX = 50
ZEROS_TOLD = 10  #: After so many updates of zeros, and no other, a group is said not to train.

Key = tuple[str, str]  #: (platform, app version)
Counts = tuple[int, ...]  #: asked, given, counted, refused, lost, zeros; an old journal lacks the last.
OTHER: Key = ("other", "")  #: All groups beyond the bound, and devices of which only a hash is known any more.


@dataclass(slots=True)
class _Group:
    asked: int = 0
    given: int = 0
    counted: int = 0
    refused: int = 0
    lost: int = 0
    zeros: int = 0


@dataclass(slots=True)
class Groups:
    """Counts since the first start of the job, as far as its journal remembers.

    Who trains is known of devices that this process has heard of: a lease does not say of which group its device is.
    """

    _groups: dict[Key, _Group] = field(default_factory=dict)
    _training: dict[bytes, Key] = field(default_factory=dict)  # by device hash; of live leases, so bounded by places

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
        if not zeros or group.zeros != group.counted or group.zeros != ZEROS_TOLD:
            return ""
        return f'all {ZEROS_TOLD} updates of platform "{key[0]}", app "{key[1]}", are zeros: it does not train'

    def refused(self, device_hash: bytes, device: DeviceInfo, zeros: bool = False) -> None:
        group = self._of(self._training.get(device_hash) or _key(device))
        group.refused += 1
        group.zeros += zeros

    def reported(self, device_hash: bytes) -> None:
        """Its place is free."""
        self._training.pop(device_hash, None)

    def lost(self, device_hash: bytes) -> None:
        """Its lease expired."""
        self._of(self._training.pop(device_hash, OTHER)).lost += 1

    def forget_all_but(self, live: LiveLeases) -> None:
        """Other leases ended all at once."""
        self._training = {device: key for device, key in self._training.items() if live.of(device) is not None}

    def _of(self, key: Key) -> _Group:
        group = self._groups.get(key)
        if group is None:
            key = key if len(self._groups) < GROUPS_MAX else OTHER
            group = self._groups.setdefault(key, _Group())
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
            )
            for key, group in groups
        )

    def snapshot(self) -> tuple[tuple[Key, Counts], ...]:
        return tuple((key, astuple(group)) for key, group in self._groups.items())

    def restore(self, groups: Iterable[tuple[Key, Counts]]) -> None:
        """The counts of a snapshot; who trains now stays known."""
        self._groups = {key: _Group(*counts) for key, counts in groups}


def _key(device: DeviceInfo) -> Key:
    return label(device.platform), label(device.app_version)
