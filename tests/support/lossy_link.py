"""A network path with loss and delay between two network namespaces, for tests.

    lossy_link.py NAMESPACE_A NAMESPACE_B DELAY_MS LOSS_PERCENT SEED

Makes an interface in each (10.199.0.1 and 10.199.0.2), carries packets between them, late and not
all of them, and prints "ready". SIGUSR1 cuts the path, SIGUSR2 joins it again, SIGTERM ends.
"""
import ctypes, fcntl, heapq, os, random, select, signal, struct, subprocess, sys, time

TUNSETIFF, IFF_TUN, IFF_NO_PI, CLONE_NEWNET = 0x400454CA, 1, 0x1000, 0x40000000


def open_interface(namespace, address):
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/run/netns/" + namespace) as file:
        if libc.setns(file.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH", b"path0", IFF_TUN | IFF_NO_PI))
    for command in (["addr", "add", address + "/24", "dev", "path0"],
                    ["link", "set", "path0", "up"],
                    ["link", "set", "lo", "up"]):
        subprocess.run(["ip"] + command, check=True)
    return tun


def main():
    first, second, delay_ms, loss_percent, seed = sys.argv[1:]
    ends = [open_interface(first, "10.199.0.1"), open_interface(second, "10.199.0.2")]
    draw = random.Random(int(seed))
    under_way, number, joined = [], 0, True

    def set_joined(value):
        nonlocal joined
        joined = value
        print("joined" if value else "cut", flush=True)

    signal.signal(signal.SIGUSR1, lambda *_: set_joined(False))
    signal.signal(signal.SIGUSR2, lambda *_: set_joined(True))
    print("ready", flush=True)
    while True:
        wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
        for fd in select.select(ends, [], [], wait)[0]:
            packet = os.read(fd, 65536)
            if joined and draw.uniform(0, 100) >= float(loss_percent):
                number += 1
                other = ends[1 - ends.index(fd)]
                heapq.heappush(under_way,
                               (time.monotonic() + float(delay_ms) / 1000, number, other, packet))
        while under_way and under_way[0][0] <= time.monotonic():
            _, _, fd, packet = heapq.heappop(under_way)
            os.write(fd, packet)


main()
