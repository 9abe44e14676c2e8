"""Keeps the memory of the host from growing by holes in the allocator's heap."""

import ctypes
import os
import platform

LARGE = 1 << 20
M_MMAP_THRESHOLD = -3  # malloc.h of glibc


def return_large_blocks() -> bool:
    """
    Lets glibc give every block of 1 MiB or more back to the system as soon as it is freed.

    By default it raises that threshold to the largest block ever freed, keeps the rest in its heap, and tensors of
    ever other sizes, as packed batches have, leave holes there: with 4,096 pairs a step half as much memory again.

    Returns:
        Whether it was set: not with another C library, nor where MALLOC_MMAP_THRESHOLD_ says otherwise.
    """
    if platform.libc_ver()[0] != "glibc" or "MALLOC_MMAP_THRESHOLD_" in os.environ:
        return False
    return ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE) == 1
