#!/usr/bin/env python3
"""A slow wire for kernels without netem: two TAP devices in two network namespaces joined by a pipe
that delivers each frame after DELAY milliseconds and loses LOSS per cent of them.

usage: delay.py NAMESPACE_A TAP_A NAMESPACE_B TAP_B DELAY LOSS   (prints "ready", runs until killed)
"""
import collections
import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import time

CLONE_NEWNET, TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x40000000, 0x400454CA, 0x0002, 0x1000
LIBC = ctypes.CDLL(None, use_errno=True)


def enter(namespace):
    if LIBC.setns(namespace, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def tap(namespace, name):
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open("/run/netns/" + namespace, os.O_RDONLY)
    enter(there)
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
    enter(home)
    os.close(there)
    os.close(home)
    return device


def main():
    a, b = tap(sys.argv[1], sys.argv[2]), tap(sys.argv[3], sys.argv[4])
    delay, loss = float(sys.argv[5]) / 1000, float(sys.argv[6]) / 100
    other = {a: b, b: a}
    queue = collections.deque()  # the delay is constant, so first in is first due
    poll = select.poll()
    poll.register(a, select.POLLIN)
    poll.register(b, select.POLLIN)
    print("ready", flush=True)
    while True:
        wait = max(0, (queue[0][0] - time.monotonic()) * 1000) if queue else None
        for device, _ in poll.poll(0 if wait is not None and wait < 0.2 else wait):
            for _ in range(64):
                try:
                    frame = os.read(device, 65536)
                except OSError:
                    break
                if random.random() >= loss:
                    queue.append((time.monotonic() + delay, other[device], frame))
        now = time.monotonic()
        while queue and queue[0][0] <= now:
            _, device, frame = queue.popleft()
            try:
                os.write(device, frame)
            except OSError:
                pass


main()
