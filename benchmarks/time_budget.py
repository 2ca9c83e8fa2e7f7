"""Work that is cut off by a time limit: queues take turns, and nothing is begun that would not fit any more."""

import collections
import time


def jobs_in_time(queues, seconds, kind, clock=time.monotonic):
    """Yields the jobs of several queues while they fit, each time of the queue that has taken the least time so far.

    The time of a job is that until the next one is asked for. A job is left out where the longest one of its kind so
    far took more than is left. A kind that was not seen yet is taken for the longest job of its queue.

    Args:
        queues: list of lists of jobs, the most important ones first.
        seconds: from when the first job is asked for.
        kind: function of a job that returns what jobs of about the same length have in common, hashable.
        clock: function without arguments that returns seconds.
    """
    end = clock() + seconds
    waiting = [collections.deque(queue) for queue in queues]
    spent = [0.0] * len(queues)
    longest = [{} for _ in queues]
    while any(waiting):
        turn = min((i for i, queue in enumerate(waiting) if queue), key=spent.__getitem__)
        job = waiting[turn].popleft()
        start, seen = clock(), longest[turn]
        if start + seen.get(kind(job), max(seen.values(), default=0.0)) >= end:
            continue
        yield job
        took = clock() - start
        spent[turn] += took
        seen[kind(job)] = max(took, seen.get(kind(job), 0.0))
