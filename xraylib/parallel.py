"""Many files, one function: on all cores, with results in order, and progress once it takes more than five seconds."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tqdm import tqdm

CORES = os.cpu_count() or 1


def in_order(function: Callable, items: Sequence, threads: int, doing: str | None = None) -> Iterator[Any]:
    """function(item) for each item, in order, by `threads` threads; decoders and networks free Python's lock.

    No more than four items a thread are begun before the first of them is taken: memory does not grow with their
    number. doing: what the progress bar says.
    """
    waiting: deque[Future] = deque()
    bar = tqdm(total=len(items), desc=doing, unit="film", delay=5, mininterval=2)
    with bar, ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= 4 * threads:
                    yield waiting.popleft().result()
                    bar.update()
            while waiting:
                yield waiting.popleft().result()
                bar.update()
        finally:  # whoever stops early need not wait for what was begun ahead
            for future in waiting:
                future.cancel()
