"""A subscription that cannot sleep through a wake-up: it is woken, and it looks by itself as well.

The library's own starts to pull before it listens, so what is stored between is not delivered
until somebody notifies again (facts/eventsourcing, trap 3); on SQLite it has none at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from threading import Event, Thread

from eventsourcing.persistence import ApplicationRecorder, ListenNotifySubscription

POLL_S = 0.2

# Blocks until something may have been stored, or the time is over, again and again.
Wake = Callable[[float], Iterator[None]]


class PollingSubscription(ListenNotifySubscription[ApplicationRecorder]):
    """The library's subscription, pulled every `POLL_S` and whenever `wake` yields."""

    def __init__(
        self,
        recorder: ApplicationRecorder,
        gt: int | None = None,
        topics: Sequence[str] = (),
        wake: Wake | None = None,
    ) -> None:
        self._ended = Event()
        super().__init__(recorder=recorder, gt=gt, topics=topics)
        self._wake = wake or self._sleep
        self._waker = Thread(target=self._keep_awake, daemon=True)
        self._waker.start()

    def stop(self) -> None:
        """Stop the subscription."""
        super().stop()
        self._ended.set()

    def __exit__(self, *args: object, **kwargs: object) -> None:
        super().__exit__(*args, **kwargs)
        self._waker.join()

    def _sleep(self, seconds: float) -> Iterator[None]:
        while not self._ended.wait(seconds):
            yield

    def _keep_awake(self) -> None:
        try:
            for _ in self._wake(POLL_S):
                if self._ended.is_set():
                    return
                self._has_been_notified.set()
        except BaseException as error:  # noqa: BLE001  (raised where the subscription is read)
            self._thread_error = self._thread_error or error
            self.stop()
