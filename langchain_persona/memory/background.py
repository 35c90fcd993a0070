"""Work behind the answer. What it works on is marked in the store: a job that dies is taken up by a later process."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

logger = logging.getLogger(__name__)


class Background:
    """Jobs of one memory: functions in worker threads, coroutines as tasks of the running event loop."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ThreadPoolExecutor | None = None
        self._futures: set[Future[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def submit(self, function: Callable[[], object]) -> None:
        """Run a function in a worker thread, with the caller's context."""
        with self._lock:
            self._pool = self._pool or ThreadPoolExecutor(max_workers=4, thread_name_prefix="persona")
            future = self._pool.submit(contextvars.copy_context().run, function)
            self._futures.add(future)
        future.add_done_callback(self._finish)

    def asubmit(self, work: Coroutine[Any, Any, object]) -> None:
        """Run a coroutine as a task of the running event loop."""
        task = asyncio.get_running_loop().create_task(work)
        with self._lock:
            # a task whose loop was closed under it will never end
            self._tasks = {one for one in self._tasks if not one.get_loop().is_closed()} | {task}
        task.add_done_callback(self._finish)

    def drain(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the jobs of worker threads; True when none is left (tasks of a running loop need `adrain`)."""
        with self._lock:
            futures = set(self._futures)
        waited = wait(futures, timeout=timeout_seconds)
        with self._lock:
            return not waited.not_done and all(task.get_loop().is_closed() for task in self._tasks)

    async def adrain(self, timeout_seconds: float | None = None) -> bool:
        """Async twin of `drain`; waits for the tasks of this loop too."""
        loop, current = asyncio.get_running_loop(), asyncio.current_task()
        with self._lock:
            tasks = [task for task in self._tasks if task.get_loop() is loop and task is not current]
            waits = [*tasks, *(asyncio.wrap_future(future) for future in self._futures)]
        if not waits:
            return True
        done, left = await asyncio.wait(waits, timeout=timeout_seconds)
        for one in done:  # `_finish` has told of errors; asyncio would once more
            _ = one.cancelled() or one.exception()
        return not left

    def close(self) -> None:
        """Wait for the worker threads and let them go; a later job starts new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _finish(self, job: Future[Any] | asyncio.Task[Any]) -> None:
        with self._lock:
            self._futures.discard(job)
            self._tasks.discard(job)
        error = None if job.cancelled() else job.exception()
        if error is not None:
            logger.warning("Work behind the answer failed and will be tried again (%s)", type(error).__name__)
