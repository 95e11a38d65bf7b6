"""Jobs side by side, each in a process of its own, in an order that respects what they need."""

import os
import signal
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import active_children, get_context
from typing import Any

from cryolatent.errors import CryolatentError


@dataclass(frozen=True)
class Job:
    """Something to do in a process of its own.

    Args:
        name: Unlike that of any other job.
        work: A function of a module, with arguments that can be sent to another process.
        arguments: Its arguments.
        needs: Names of the jobs that must be finished before.
    """

    name: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    needs: tuple[str, ...] = ()


def work_side_by_side(
    jobs: Collection[Job],
    workers: int,
    tell: Callable[[str, Any], None] = lambda name, result: None,
) -> dict[str, Any]:
    """Do jobs, several at a time; a worker does one after the other on a single thread.

    When a job fails or the caller is interrupted, the others are stopped: they are expected to
    keep what they have, so that a second call continues.

    Args:
        jobs: What to do, in the order wanted; needs that are not among them count as met.
        workers: Number of processes.
        tell: Called with name and result of each job as it ends.

    Returns:
        Each job's result by its name.

    Raises:
        CryolatentError: If a job fails, with its message.
        ValueError: If jobs need each other in a circle.
    """
    waiting = {job.name: job for job in jobs}
    results: dict[str, Any] = {}
    running: dict[Future, str] = {}
    with _pool(workers) as pool:
        # the pool does not notice the death of a process that it started while it already waited
        wait([pool.submit(os.getpid) for _ in range(min(workers, len(jobs)))])
        while waiting or running:
            open_names = waiting.keys() | set(running.values())
            ready = [job for job in waiting.values() if open_names.isdisjoint(job.needs)]
            for job in ready[: workers - len(running)]:
                running[pool.submit(_work, job)] = waiting.pop(job.name).name
            if not running:
                raise ValueError(f"jobs that need each other: {sorted(waiting)}")
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                name = running.pop(future)
                results[name] = _result(name, future)
                tell(name, results[name])
    return results


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    others = set(active_children())
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_prepare_worker)
    try:
        yield pool
    except BaseException:
        for child in set(active_children()) - others:
            child.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _work(job: Job) -> Any:
    try:
        return job.work(*job.arguments)
    except CryolatentError as error:
        # sent to the caller, who can build only what has a single argument
        sent = CryolatentError(f"{job.name}: {error}")
        sent.exit_code = error.exit_code
        raise sent from None


def _result(name: str, future: Future) -> Any:
    try:
        return future.result()
    except BrokenProcessPool:
        raise CryolatentError(
            f"{name}: its process was killed, perhaps for lack of memory. "
            "What is finished is kept; the same command continues."
        ) from None


def _prepare_worker() -> None:
    # the caller is interrupted too, and stops the workers
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(1)
