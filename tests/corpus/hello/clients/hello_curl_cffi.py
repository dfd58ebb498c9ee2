"""Sends one hello: hello_curl_cffi.py HOST PORT BROWSER, imitating that browser's hello."""

import sys

from curl_cffi import Curl, CurlOpt

host, port, browser = sys.argv[1:]
curl = Curl()
curl.setopt(CurlOpt.URL, f"https://{host}:{port}/".encode())
curl.setopt(CurlOpt.RESOLVE, [f"{host}:{port}:127.0.0.1"])
curl.impersonate(browser)
curl.perform()
