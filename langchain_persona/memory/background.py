"""Work behind the answer: started at once, waited for by `drain`, never lost sight of.

What it works on is marked in the store, so a job that dies with its process is taken up by a later one.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Any

from langchain_persona.effects import Steps, arun, run

__all__ = ["Background"]

logger = logging.getLogger(__name__)


class Background:
    """Jobs of one memory. Sync callers get a worker thread, async ones a task on their loop.

    Attributes:
        lock, busy: which users are being worked for, shared by all who work on this memory.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.lock = threading.Lock()
        self.busy: dict[str, bool] = {}  # users being worked for; True when more came meanwhile
        self._pool: ThreadPoolExecutor | None = None
        self._futures: set[Future[Any]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    def submit(self, steps: Steps[Any]) -> None:
        """Run in a worker thread."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="persona")
            future = self._pool.submit(contextvars.copy_context().run, run, steps)
            self._futures.add(future)
        future.add_done_callback(self._finished)

    def asubmit(self, steps: Steps[Any]) -> None:
        """Run as a task of the running event loop."""
        task = asyncio.get_running_loop().create_task(arun(steps))
        with self._lock:
            self._tasks.add(task)
        task.add_done_callback(self._finished)

    def prune(self) -> None:
        """Let go of tasks whose event loop was closed under them; what they worked on is free again."""
        with self._lock:
            dead = {task for task in self._tasks if task.get_loop().is_closed()}
            self._tasks -= dead
        for task in dead:
            coroutine = task.get_coro()
            if coroutine is not None:
                coroutine.close()

    def drain(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the jobs of worker threads; True when none is left (tasks of a running loop need `adrain`)."""
        self.prune()
        with self._lock:
            futures = set(self._futures)
        waited = wait_for(futures, timeout=timeout_seconds)
        with self._lock:
            return not waited.not_done and not self._tasks

    async def adrain(self, timeout_seconds: float | None = None) -> bool:
        """Async twin of `drain`; waits for the tasks of this loop too."""
        loop = asyncio.get_running_loop()
        with self._lock:
            mine = {task for task in self._tasks if task.get_loop() is loop and task is not asyncio.current_task()}
            waits = [*mine, *(asyncio.wrap_future(future) for future in self._futures)]
        if not waits:
            return True
        _, left = await asyncio.wait(waits, timeout=timeout_seconds)
        return not left

    def close(self) -> None:
        """Wait for the worker thread and let it go; a later job starts a new one."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True)

    def _finished(self, job: Future[Any] | asyncio.Task[Any]) -> None:
        with self._lock:
            self._futures.discard(job)
            self._tasks.discard(job)
        error = None if job.cancelled() else job.exception()
        if error is not None:
            logger.warning("Work behind the answer failed and will be tried again (%s)", type(error).__name__)
