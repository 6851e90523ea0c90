"""Whether a result counts: its task, its time, the update itself; then it is claimed, added and staged."""

from turnout.aggregator.contribution import Contribution
from turnout.job.core import answers, states
from turnout.job.core.answers import Refused
from turnout.job.core.events import Answer, Effect, Result, ResultOffered, ResultsRefused
from turnout.job.core.judging import Judgement, judge
from turnout.job.core.staged import send_again
from turnout.job.core.versions import Versions
from turnout.job.places.leases import Lease, device_hash
from turnout.messages import OK, VALIDATED, DeviceInfo, RefusedResult, ResultOffer, ResultReport, Status

FAR_UPDATES = (
    "updates are refused: their norm is far beyond what this job has seen; "
    "if they are honest, say how large one may be with update_norm_max under [training]"
)


class Results(Versions):
    """Takes results."""

    __slots__ = ()

    def _collect(self, event: Result, now: float) -> list[Effect]:
        report, state = event.report, self.state
        lease = self._lease_of(report, now)
        if isinstance(lease, Refused):
            return [self._refuse(event.ticket, report, lease)]
        if self._counted_already(lease):
            return self._answer_duplicate(event.ticket, report, lease, now)
        if self.commits.doubtful:
            return [Answer(event.ticket, answers.again(report.task_id, answers.IN_DOUBT))]
        if state.end is not None and not state.drained and self.commits.error:  # the end may come without it
            return [Answer(event.ticket, answers.again(report.task_id, answers.NOT_SAVED))]
        if self.holding():
            return self.hold(event, answers.again(report.task_id, answers.BUSY))
        places = self.parts.places
        had_place = places.reported(lease, now, trained=report.status in (OK, VALIDATED))
        if not places.live.on(lease.version):
            self._retire({lease.version})
        judgement = self._too_late(lease) or self._judge(event, lease, had_place)
        effects: list[Effect] = []
        if isinstance(judgement, Refused):
            places.refuse(lease)
            effects.append(self._refuse(event.ticket, report, judgement))
            self.story.add(now, lease.task, "refused", judgement.reason)
        else:
            self._claim(lease, now)
            self._add(lease, report, judgement)
            self._stage(event, lease, judgement, now)
            if not had_place:
                places.lease_time.observe(now - lease.granted_at)
        self.groups.reported(lease.device)
        return effects

    # --- whose result it is ------------------------------------------------------------------------------------

    def _lease_of(self, request: ResultReport | ResultOffer | RefusedResult, now: float) -> Lease | Refused:
        lease = self.parts.seal.open(request.task_id)
        if lease is None:
            return answers.NOT_LEASED
        if lease.device != device_hash(request.device.device_id):
            return answers.OTHER_DEVICE
        if lease.version > self.version:  # only our successor can have sealed it: what it counted is not ours to say
            return answers.REPLACED
        if not self.counted.knows(lease.version):
            return answers.TOO_OLD
        places = self.parts.places
        if lease.task >= places.next_task:  # as above, unless somebody has our key
            return answers.NOT_GIVEN_HERE
        return lease if places.can_have_given(lease, self.counted, now) else answers.NOT_GIVEN

    def _counted_already(self, lease: Lease) -> bool:
        return self.counted.has(lease.version, lease.task)

    def _answer_duplicate(
        self, ticket: int, request: ResultReport | ResultOffer, lease: Lease, now: float
    ) -> list[Effect]:
        """At once if its first copy is durable; else together with it, unless nobody knows when that will be."""
        self.tally.duplicates += 1
        self.story.add(now, lease.task, "sent again")
        answer = Answer(ticket, answers.counted(request, duplicate=True))
        if lease.task not in self.staged:
            return [answer]
        if self.commits.doubtful:
            return [send_again(answer, answers.IN_DOUBT)]
        return [send_again(each, answers.BEING_SAVED) for each in self.staged.wait_with(lease.task, answer)]

    # --- whether it counts -------------------------------------------------------------------------------------

    def _too_late(self, lease: Lease) -> Refused | None:
        match self.state:
            case states.Settled() | states.Over(durable=True):
                return answers.FINISHED
            case states.Settling() | states.Over():
                return answers.UNSAVED_END
        if lease.task < self.void_below:
            return answers.VOID if lease.task < self.void_sure else answers.UNSAVED_VOID
        staleness_max = self.parts.workflow.staleness_max
        if self.version - lease.version > staleness_max:
            return answers.too_stale(lease.version, self.version, staleness_max)
        return None

    def _judge(self, event: Result, lease: Lease, had_place: bool) -> Judgement | Refused:
        """Whether the result is sound in itself. Changes no sum."""
        judgement = judge(
            event.report, lease, self.rules, self.parts.aggregator, self.typical, self.bases, event.factor
        )
        if isinstance(judgement, Refused) and judgement.reason == answers.FAR_NORM:
            self.typical.refuse(again=not had_place)
            self.warnings.add(FAR_UPDATES)
        return judgement

    # --- it counts ---------------------------------------------------------------------------------------------

    def _claim(self, lease: Lease, now: float) -> None:
        """No other result of this task counts."""
        self.counted.add(lease.version, lease.task)
        self.counted.keep(lease.version, max(lease.expires_at, now) + self.parts.places.resend_window_s)

    def _add(self, lease: Lease, report: ResultReport, judgement: Judgement) -> None:
        """To the running sums: what the device learned, or measured."""
        if lease.validate:
            self.federated.add(lease.version, report.metrics, judgement.weight, lease.task)
            self.made.measured += 1
            self.parts.places.measured(lease)
        else:
            contribution = Contribution(judgement.update, (lease.task,), judgement.weight, judgement.factor)
            self.parts.aggregator.add(contribution, self.parts.discount(self.version - lease.version))
            self.typical.take(judgement.norm)

    def _stage(self, event: Result, lease: Lease, judgement: Judgement, now: float) -> None:
        """Its device is answered once the next commit is durable."""
        report = event.report
        self.tally.count(self.version - lease.version)
        if report.metrics_left_out:
            self.tally.leave_out(report.metrics_left_out)
        if told := self.groups.counted(lease.device, report.device, judgement.zeros):
            self.warnings.add(told)
        self.commits.staged_at = now
        self.staged.add(lease.task, Answer(event.ticket, answers.counted(report, duplicate=False)))
        self.story.add(now, lease.task, "staged", judgement.weight)

    # --- refusals ----------------------------------------------------------------------------------------------

    def _refuse(self, ticket: int, request: ResultReport | ResultOffer, why: Refused) -> Answer:
        self._count_refusal(request.device, why)
        return Answer(ticket, answers.refused(request, why))

    def _count_refusal(self, device: DeviceInfo, why: Refused) -> None:
        """Count it, and warn when all that such devices send is bad."""
        self.tally.refuse(why.reason)
        bad, zeros = why.status is Status.ERROR, why is answers.ZEROS
        known = self.groups.refused(
            device_hash(device.device_id), device, why.reason, why.message, bad=bad, zeros=zeros
        )
        if known:
            self.warnings.add(known)

    def _judge_offer(self, event: ResultOffered, now: float) -> list[Effect]:
        """Judge an offer as its result would be judged, without the body."""
        offer = event.offer
        lease = self._lease_of(offer, now)
        if isinstance(lease, Refused):
            return [self._refuse(event.ticket, offer, lease)]
        if self._counted_already(lease):
            return self._answer_duplicate(event.ticket, offer, lease, now)
        if self.commits.error:
            return [Answer(event.ticket, answers.again(offer.task_id, answers.NOT_SAVED))]
        late = None if self.holding() else self._too_late(lease)  # while holding, our version may not come to be
        if late is not None:
            self.story.add(now, lease.task, "offer refused", late.reason)
            return [self._refuse(event.ticket, offer, late)]
        self.story.add(now, lease.task, "offered")
        return [Answer(event.ticket, answers.send_it(offer))]

    def _hear_refused(self, event: ResultsRefused, now: float) -> None:
        """A gateway refused these, as a rule because they do not decode; their devices have been answered."""
        left = set()
        for refused in event.told.items:
            lease = self._lease_of(refused, now) if refused.task_id else None
            if isinstance(lease, Refused):
                self._count_refusal(refused.device, lease)
            elif lease is None:
                self._count_refusal(refused.device, Refused(refused.reason, refused.message, Status.ERROR))
            elif not self._counted_already(lease):
                self._refused_elsewhere(refused, lease, now)
                left.add(lease.version)
        for reason, many in event.told.more.items():
            self.tally.refuse(reason, many)
            self.groups.refused_unknown(reason, many)
        self._retire({version for version in left if not self.parts.places.live.on(version)})

    def _refused_elsewhere(self, refused: RefusedResult, lease: Lease, now: float) -> None:
        """As a result that is refused here: its place is free, and its device gets no second try in this version."""
        self.parts.places.reported(lease, now, trained=False)
        self.parts.places.refuse(lease)
        self._count_refusal(refused.device, Refused(refused.reason, refused.message, Status.ERROR))
        self.groups.reported(lease.device)
        self.story.add(now, lease.task, "refused by a gateway", refused.reason)
