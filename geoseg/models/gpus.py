"""Which GPU a process takes where there are several."""

from __future__ import annotations

import os

__all__ = ["take_gpu"]

VISIBLE = "CUDA_VISIBLE_DEVICES"


def take_gpu(number: int) -> None:
    """Leave this process one GPU of those that it sees; to be called before anything is asked of a GPU.

    Args:
        number: Of the process among those of this machine; where there are fewer GPUs they are shared in turn.
    """
    import torch

    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        return
    given = os.environ.get(VISIBLE)
    # The driver's list, which does not start CUDA; once it is started the variable is read no more.
    names = [str(index) for index in range(torch.cuda.device_count())] if given is None else given.split(",")
    if len(names) > 1:
        os.environ[VISIBLE] = names[number % len(names)]
