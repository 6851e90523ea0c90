"""Which device gets a task, and what the others are told."""

from turnout.job.core import answers
from turnout.job.core.answers import SOON_S
from turnout.job.core.events import Answer, Effect, SelectionAsked, TaskAsked
from turnout.job.core.versions import Versions
from turnout.job.places.leases import Lease, device_hash, lot
from turnout.job.places.pacing import WHOLE_S
from turnout.job.places.places import NoTask
from turnout.messages import VALIDATE
from turnout.wire.edge_headers import ANDROID

SAVE_GRANTS_S = 1.0  #: A granted task is in a commit after at most this, also when no result is.
PAUSED_WAIT_S = 15.0  #: The least wait told to a device while the job is paused; what the pacing admits goes before it.


class Tasks(Versions):
    """Grants tasks."""

    __slots__ = ()

    def _assign(self, event: TaskAsked, now: float) -> list[Effect]:
        request, places, end = event.request, self.parts.places, self.state.end
        device = device_hash(request.device.device_id)
        if end is not None and (self.state.drained or places.live.of(device) is None):
            return [Answer(event.ticket, answers.no_more_tasks(self.rules.job_id, end.reason))]
        if self.commits.error:
            return [self._come_back(event, NoTask("the job cannot save results now"), now)]
        if self.holding():
            return self.hold(event, answers.no_task_yet(self.rules.job_id, SOON_S, "the job is busy; ask again"))
        self.parts.pacing.arrived(now)
        group = self.groups.asked(request.device)
        drawn = event.chance >= 1 or lot(device, self.version) < event.chance
        drawn = places.selection.asked(device, request.device.device_id, now, drawn)
        if not drawn and places.live.of(device) is None:
            return [self._come_back(event, NoTask("others were chosen this time"), now)]
        validates, rng = VALIDATE in request.accept, self.parts.rng
        lease = places.ask(device, self.version, self.places(), self.counted, now, rng, validates, group)
        if isinstance(lease, Lease):
            return [self._grant(event, lease, group, now)]
        return [self._come_back(event, NoTask("the job is paused") if self.pause.on else lease, now)]

    def _grant(self, event: TaskAsked, lease: Lease, group: tuple[str, str], now: float) -> Answer:
        """``lease`` is new, or the one that the device holds already."""
        new = lease.granted_at == now
        self.groups.granted(lease.device, group, new=new)
        self.commits.save_by(now + SAVE_GRANTS_S)
        self.story.add(now, lease.task, "granted" if new else "granted again", lease.version)
        blob, task_id = self.models.of(lease.version), self.parts.seal.close(lease)
        chosen = self.parts.places.selection.id_of(lease.device)
        given = answers.task(self.rules.job_id, lease, task_id, blob, self.rules.device_settings, now, chosen)
        return Answer(event.ticket, given)

    def _come_back(self, event: TaskAsked, why: NoTask, now: float) -> Answer:
        least_s = PAUSED_WAIT_S if self.pause.on else 0.0
        step_s = 0.0 if event.request.device.platform.lower() == ANDROID else WHOLE_S
        wait = self.parts.pacing.wait(now, self.parts.rng, self.deadline(), least_s, step_s, why.midway)
        return Answer(event.ticket, answers.no_task_yet(self.rules.job_id, wait, why.reason))

    def _expire(self, now: float) -> None:
        expired = self.parts.places.live.expire(now)
        self.tally.lost += len(expired)
        for lease in expired:
            self.groups.lost(lease.device)
            self.story.add(now, lease.task, "its lease expired: the place is free, a late result may count")
        self._retire({lease.version for lease in expired})

    def _select(self, event: SelectionAsked, now: float) -> Effect:
        places, fleet = self.parts.places, event.request.fleet
        if fleet is not None:
            if not places.selection.allow_fleets:
                self.warnings.add(answers.fleet_refused(fleet))  # whose simulator may wait for it in silence
                return Answer(event.ticket, answers.no_fleets(self.rules.job_id))
            places.selection.register(fleet, now, self.commits.next)
        free = 0
        if self.state.end is None and not self.commits.error and not self.holding():
            free = self.places() - len(places.live)
            places.selection.fill(free, now, self.parts.rng, places.enlister(self.version, self.counted, now))
        chosen = places.selection.shown(event.request, self.version, free, places.live)
        durable = fleet is None or places.selection.is_durable(fleet, self.commits.last)
        if not durable:  # and whenever it is asked for again: the commit that was to hold it may have failed
            self.commits.save_by(now)
        return Answer(event.ticket, answers.selected(self.rules.job_id, chosen, durable))
