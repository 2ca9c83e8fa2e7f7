from benchmarks.time_budget import jobs_in_time


def done(queues, seconds, costs):
    """The jobs that are done, texts, and when the last one ends; a job takes as many seconds as `costs` has for it."""
    now, jobs = [100.0], []
    for job in jobs_in_time(queues, seconds, kind=lambda job: job[0], clock=lambda: now[0]):
        jobs.append(job)
        now[0] += costs[job[0]]
    return " ".join(jobs), now[0] - 100


def test_queues_get_the_same_time():
    queues = [["a1", "a2", "a3", "a4", "a5", "a6"], ["b1", "b2"]]
    assert done(queues, 1000, {"a": 1, "b": 3}) == ("a1 b1 a2 a3 a4 b2 a5 a6", 12)


def test_nothing_begins_that_would_not_fit():
    # After 8.5 seconds another b would end at 12.5, an a at 10.
    assert done([["a1", "a2", "a3", "a4"], ["b1", "b2"]], 10.6, {"a": 1.5, "b": 4}) == ("a1 b1 a2 a3 a4", 10)
    assert done([["a1"], ["b1"]], 0, {"a": 1, "b": 1}) == ("", 0)
    assert done([["a1"], ["b1"]], -5, {"a": 1, "b": 1}) == ("", 0)
    assert done([], 10, {}) == ("", 0)


def test_a_kind_that_is_new_is_taken_for_the_longest_of_its_queue():
    assert done([["a1", "b1", "c1"]], 10, {"a": 6, "b": 1, "c": 1}) == ("a1", 6)
    assert done([["a1", "b1", "c1"]], 12.5, {"a": 6, "b": 1, "c": 1}) == ("a1 b1", 7)
    # The other queue's jobs say nothing about it.
    assert done([["a1", "a2"], ["b1", "b2"]], 8.5, {"a": 6, "b": 1}) == ("a1 b1 b2", 8)
