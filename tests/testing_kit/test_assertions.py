"""`assert_enqueued`: what fits, and what its failures say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import pytest

import jobq
from jobq.testing import assert_enqueued, assert_not_enqueued, drain
from jobq.testing._assertions import differences


@dataclass
class Mail:
    to: str
    subject: str = "hello"


def test_it_finds_a_job_by_type_or_handler_and_returns_it(queue, router):
    @router.handler("mail")
    def mail(payload: Mail) -> None: ...

    job = queue.enqueue(mail, Mail("ada"))
    assert assert_enqueued(queue, "mail") == [job]
    assert assert_enqueued(queue, mail) == [job]
    assert assert_enqueued(queue, mail, Mail("ada")) == [job]
    assert assert_enqueued(queue, mail, payload={"to": "ada"}) == [job]


def test_a_part_of_the_payload_is_enough_at_every_level(queue):
    queue.enqueue(
        "edit", {"image": {"url": "a", "size": [1, 2]}, "steps": [{"op": "crop", "n": 1}]}
    )
    assert_enqueued(queue, "edit", {"image": {"url": "a"}})
    assert_enqueued(queue, "edit", {"image": {"size": (1, 2)}, "steps": [{"op": "crop"}]})
    assert_not_enqueued(queue, "edit", {"steps": []})
    assert_not_enqueued(queue, "edit", {"image": {"url": "b"}})


def test_options_are_compared_as_they_were_given(queue, clock):
    queue.enqueue(
        "edit",
        {},
        queue="images",
        priority="urgent",
        delay=timedelta(minutes=1),
        max_attempts=5,
        timeout=timedelta(seconds=30),
        expires_at=clock.time + timedelta(hours=1),
        unique_key="k",
        owner="ada",
        metadata={"trace": {"id": 1, "of": "x"}},
    )
    assert_enqueued(
        queue,
        "edit",
        queue="images",
        status="pending",
        priority="urgent",
        delay=60,
        run_at=clock.time + timedelta(minutes=1),
        max_attempts=5,
        timeout=30,
        expires_at=clock.time + timedelta(hours=1),
        unique_key="k",
        owner="ada",
        metadata={"trace": {"id": 1}},
    )
    assert_not_enqueued(queue, "edit", priority="normal")
    assert_not_enqueued(queue, "edit", delay=0)
    assert_not_enqueued(queue, "edit", metadata={"trace": {"id": 2}})


def test_a_count_must_be_met_exactly(queue):
    queue.enqueue_many(("edit", {"n": n}) for n in range(3))
    assert len(assert_enqueued(queue, "edit", count=3)) == 3
    with pytest.raises(AssertionError, match=r"^3 jobs of type 'edit' were enqueued, not 2"):
        assert_enqueued(queue, "edit", count=2)


def test_more_jobs_than_a_page_are_counted(queue):
    queue.enqueue_many(("edit", {}) for _ in range(1001))
    assert_enqueued(queue, "edit", count=1001)


def test_finished_jobs_count_unless_a_status_is_asked_for(queue, router):
    @router.handler("edit")
    def edit(payload: dict) -> None: ...

    queue.enqueue(edit, {})
    drain(queue)
    assert_enqueued(queue, edit)
    assert_enqueued(queue, edit, status="completed")
    assert_not_enqueued(queue, edit, status="pending")


def test_an_empty_queue_says_that_nothing_was_enqueued(queue):
    with pytest.raises(AssertionError) as caught:
        assert_enqueued(queue, "edit", {"n": 1}, owner="ada")
    assert str(caught.value) == (
        "no job of type 'edit' was enqueued with payload {'n': 1}, owner='ada'; "
        "nothing was enqueued at all"
    )


def test_the_failure_lists_what_was_enqueued_instead_and_why_it_does_not_fit(queue):
    queue.enqueue("edit", {"image": {"url": "a"}})
    queue.enqueue("edit", {"image": {}})
    queue.enqueue("mail", {"to": "ada"})
    with pytest.raises(AssertionError) as caught:
        assert_enqueued(queue, "edit", {"image": {"url": "b"}})
    first, *lines = str(caught.value).splitlines()
    assert first == (
        "no job of type 'edit' was enqueued with payload {'image': {'url': 'b'}}. "
        "These were enqueued:"
    )
    assert lines == [
        "  edit (pending) {'image': {}}  ← payload.image.url is missing",
        "  edit (pending) {'image': {'url': 'a'}}  ← payload.image.url is 'a', not 'b'",
        "  mail (pending) {'to': 'ada'}",
    ]


def test_a_long_list_is_cut(queue):
    queue.enqueue_many(("mail", {"n": n}) for n in range(25))
    with pytest.raises(AssertionError, match=r"… and 5 more$"):
        assert_enqueued(queue, "edit")


def test_assert_not_enqueued_names_what_was(queue):
    queue.enqueue("edit", {"n": 1})
    with pytest.raises(AssertionError, match=r"^one job of type 'edit' was enqueued, not 0"):
        assert_not_enqueued(queue, "edit")


def test_an_unknown_option_is_refused_by_name(queue):
    with pytest.raises(jobq.OptionError, match="'colour' is no option of assert_enqueued"):
        assert_enqueued(queue, "edit", colour="red")


async def test_it_works_in_an_event_loop_too_with_either_face(aqueue):
    await aqueue.enqueue("edit", {"n": 1})
    assert_enqueued(aqueue, "edit", {"n": 1})
    assert_enqueued(aqueue.sync, "edit", {"n": 1})
    assert_not_enqueued(aqueue, "mail")


@pytest.mark.parametrize(
    "wanted, actual, difference",
    [
        ({"a": 1}, {"a": 1, "b": 2}, None),
        ({}, {}, None),
        ({}, [], "payload is [], not {}"),
        ([1], {"a": 1}, "payload is {'a': 1}, not [1]"),
        ([1, 2], [1], "payload has 1 items, not 2"),
        ({"a": [{"b": None}]}, {"a": [{"b": 0}]}, "payload.a[0].b is 0, not None"),
        (Mail("ada"), {"to": "ada", "subject": "hello"}, None),
        (Mail("ada"), {"to": "ada", "subject": "bye"}, "payload.subject is 'bye', not 'hello'"),
    ],
)
def test_the_first_difference_is_told_with_its_path(wanted, actual, difference):
    assert next(differences(wanted, actual), None) == difference
