"""Dead letters: to look at, and to send again or delete as many as a filter means."""

from taskbus.errors import ConfigError
from taskbus.steering import bulk
from taskbus.steering import jobs as working
from taskbus.steering.detail import attempts_of
from taskbus.steering.letters import dead_letters_of
from taskbus.steering.refusal import NotThere
from taskbus.steering.showing import Showing
from taskbus.steering.tracing import Trace, message_of
from taskbus.store.base import DeadLetter
from taskbus.web.api.paging import after, position
from taskbus.web.api.tasks import attempt_shape, edit_of
from taskbus.web.house import Visit
from taskbus.web.routes import Routes
from taskbus.web.shapes import records
from taskbus.web.shapes.basis import Found, Listing, Nothing, Paging, Role

letters = Routes("dlq")
jobs = Routes("jobs")


@letters.get("/dlq")
def list_all(visit: Visit, query: Found) -> Listing[records.Letter]:
    """Dead letters that match, the newest first."""
    house = visit.house
    meant = bulk.letters_meant(house.app, query.where)
    found = house.store.dead_letters(meant, limit=query.limit + 1, after=position(query.after), is_newest_first=True)
    page, showing = found[: query.limit], Showing(house.app)
    following = after(page[-1].dead_at, page[-1].task_id) if len(found) > query.limit else None
    return Listing(
        items=[shape_of(letter, showing) for letter in page],
        next=following,
        count=house.store.count_dead_letters(meant),
    )


@letters.get("/dlq/groups")
def list_groups(visit: Visit, query: records.Where) -> list[records.LetterGroup]:
    """Dead letters that match, by task, reason and kind of error; the largest group first."""
    house = visit.house
    found = house.store.dead_letter_groups(bulk.letters_meant(house.app, query.where))
    return [
        records.LetterGroup(
            task=group.task,
            reason=str(group.reason),
            error=group.error,
            message=group.message,
            count=group.count,
            first_at=group.first_at,
            last_at=group.last_at,
            example=group.example,
        )
        for group in Showing(house.app).groups(found)
    ]


@letters.get("/dlq/{id}")
def show(visit: Visit, id: str) -> records.LetterDetail:
    """One dead letter, with each failed attempt."""
    house = visit.house
    letter = dead_letters_of(house.app).show(id)
    if letter is None:
        raise NotThere(f"there is no dead letter {id!r}", "it was replayed or purged, or never was one")
    showing = Showing(house.app)
    secrets = showing.secrets([letter])
    attempts = attempts_of(Trace(id, failed=letter.attempts, letter=letter))
    return records.LetterDetail(
        letter=shape_of(letter, showing),
        attempts=[attempt_shape(showing.attempt(each, secrets)) for each in attempts],
        traceback=showing.text(letter.failure.traceback, secrets),
    )


@letters.post("/dlq/replay")
def replay(visit: Visit, body: records.Replay) -> records.Number | records.Job:
    """Send the tasks of all that match again, as a job; ``dry_run`` only counts them."""
    house, where = visit.house, _meant(body.where)
    if body.dry_run:
        return _counted(visit, where)
    edit = edit_of(body)
    job = bulk.replay(
        house.app, house.jobs, where, edit=edit if edit.is_any else None, rate=body.rate, by=visit.user.name
    )
    visit.note(target=where, detail=f"job {job.id}{', edited' if edit.is_any else ''}", count=job.total)
    return job_shape(job)


@letters.post("/dlq/purge", role=Role.ADMIN)
def purge(visit: Visit, body: records.Purge) -> records.Number | records.Job:
    """Delete all that match for good, as a job; ``dry_run`` only counts them."""
    house, where = visit.house, _meant(body.where)
    if body.dry_run:
        return _counted(visit, where)
    job = bulk.purge(house.app, house.jobs, where, by=visit.user.name)
    visit.note(target=where, detail=f"job {job.id}", count=job.total)
    return job_shape(job)


@jobs.get("/jobs")
def list_jobs(visit: Visit, query: Paging) -> Listing[records.Job]:
    """What was begun for many letters at once, the latest first."""
    found = visit.house.jobs.list()
    return Listing(items=[job_shape(job) for job in found[: query.limit]], count=len(found))


@jobs.get("/jobs/{id}")
def show_job(visit: Visit, id: str) -> records.Job:
    """How far one of them is."""
    return job_shape(visit.house.jobs.get(id))


@jobs.post("/jobs/{id}/cancel")
def cancel_job(visit: Visit, id: str, body: Nothing) -> records.Job:
    """Stop one after the step that it is in; what is done stays done."""
    visit.note(target=id)
    return job_shape(visit.house.jobs.cancel(id))


def _meant(where: str) -> str:
    """A filter that says something: all letters at once are meant by ``*``, never by leaving it out."""
    if not where.strip():
        raise ConfigError("where is empty; say task:* if you mean every dead letter")
    return where


def _counted(visit: Visit, where: str) -> records.Number:
    count = bulk.count(visit.house.app, where)
    visit.note(target=where, detail="dry run", count=count)
    return records.Number(count=count)


def shape_of(letter: DeadLetter, showing: Showing) -> records.Letter:
    """A dead letter as it is sent."""
    message = message_of(letter)
    args, kwargs = showing.call(message) if message is not None else ("cannot be read", "")
    return records.Letter(
        id=letter.task_id,
        task=letter.task,
        queue=letter.queue,
        reason=str(letter.reason),
        error=letter.failure.type,
        message=showing.text(letter.failure.message, showing.secrets([message])),
        dead_at=letter.dead_at,
        attempt=letter.attempt,
        args=args,
        kwargs=kwargs,
    )


def job_shape(job: working.Job) -> records.Job:
    """A job as it is sent."""
    return records.Job(
        id=job.id,
        kind=job.kind,
        where=job.where,
        total=job.total,
        done=job.done,
        failed=job.failed,
        state=job.state,
        started_at=job.started_at,
        by=job.by,
        error=job.error,
        ended_at=job.ended_at,
    )
