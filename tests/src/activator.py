"""Opens listening sockets, hands them over as systemd does (sd_listen_fds(3)), and becomes the program that takes them.

    activator.py [--runs=N] NAME=ADDRESS[,transparent][,reuseport][,only][,deaf][,datagram] ... -- PROGRAM ARGUMENT ...

An IPv6 wildcard takes IPv4 as well, unless `only`. The order is that of the arguments, which may repeat a name. With --runs it stays, keeps
the sockets, and starts the program so many times, one after the other.
"""
import os
import socket
import sys

IPV6_TRANSPARENT = 75  # linux/in6.h; Python does not know it.
FIRST = 3  # SD_LISTEN_FDS_START


def opened(words):
    where, *options = words.split(",")
    host, _, port = where.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    one = socket.socket(family, socket.SOCK_DGRAM if "datagram" in options else socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, "only" in options)
    if "reuseport" in options:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if "transparent" in options:
        level, option = (socket.IPPROTO_IPV6, IPV6_TRANSPARENT) if family == socket.AF_INET6 else (socket.SOL_IP, 19)
        one.setsockopt(level, option, 1)
    one.bind((host, int(port)))
    if "deaf" not in options and "datagram" not in options:
        one.listen(4096)
    return one


def become(program, names, sockets):
    # Out of the way first, or one could land on another's number.
    high = [os.dup(one.fileno()) for one in sockets]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, FIRST + number, inheritable=True)
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names)), LISTEN_FDNAMES=":".join(names))
    os.execvp(program[0], program)


arguments = sys.argv[1:]
runs = int(arguments.pop(0).partition("=")[2]) if arguments[0].startswith("--runs=") else 0
end = arguments.index("--")
named = [argument.partition("=") for argument in arguments[:end]]
names, sockets = [name for name, _, _ in named], [opened(words) for _, _, words in named]
program = arguments[end + 1 :]
if not runs:
    become(program, names, sockets)
for _ in range(runs):
    child = os.fork()
    if child == 0:
        become(program, names, sockets)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("ended with", status, flush=True)
    if status:
        sys.exit(1)
