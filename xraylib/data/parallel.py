"""Many files, one function: on all cores, with results in order, and progress once it takes more than five seconds."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tqdm import tqdm

CORES = os.cpu_count() or 1


def in_order(
    function: Callable,
    items: Sequence,
    threads: int,
    doing: str | None = None,
    films: Callable[[Any], int] = lambda item: 1,
) -> Iterator[Any]:
    """function(item) for each item, in order, by `threads` threads; decoders and networks free Python's lock.

    No more than four items a thread are begun before the first of them is taken: memory does not grow with their
    number. doing: what the progress bar says; films: how many an item counts for there.
    """
    waiting: deque[tuple[Future, int]] = deque()
    bar = tqdm(total=sum(map(films, items)), desc=doing, unit="film", delay=5, mininterval=2)
    with bar, ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append((pool.submit(function, item), films(item)))
                if len(waiting) >= 4 * threads:
                    yield _first(waiting, bar)
            while waiting:
                yield _first(waiting, bar)
        finally:  # whoever stops early need not wait for what was begun ahead
            for future, _ in waiting:
                future.cancel()


def _first(waiting: deque[tuple[Future, int]], bar: tqdm) -> Any:
    future, films = waiting.popleft()
    result = future.result()
    bar.update(films)
    return result
