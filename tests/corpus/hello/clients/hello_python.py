"""Sends one hello: hello_python.py HOST PORT [MINIMUM MAXIMUM [ALPN …]], with Python's own ssl module."""

import socket
import ssl
import sys

host, port, *options = sys.argv[1:]
context = ssl.create_default_context()
if options:
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion[options[0]]
    context.maximum_version = ssl.TLSVersion[options[1]]
if options[2:]:
    context.set_alpn_protocols(options[2:])
context.wrap_socket(socket.create_connection(("127.0.0.1", int(port))), server_hostname=host)
