"""Sends one hello: hello_awscrt.py HOST PORT [ALPN], with the TLS of AWS's common runtime."""

import sys

from awscrt import http, io

host, port, *alpn = sys.argv[1:]
context = io.ClientTlsContext(io.TlsContextOptions())
options = context.new_connection_options()
options.set_server_name(host)
if alpn:
    options.set_alpn_list(alpn)
bootstrap = io.ClientBootstrap(io.EventLoopGroup(1), io.DefaultHostResolver(io.EventLoopGroup(1)))
http.HttpClientConnection.new("127.0.0.1", int(port), bootstrap=bootstrap, tls_connection_options=options).result(5)
