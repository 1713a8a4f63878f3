"""Sends a steady rate of requests to a gallery until it is told to end (SIGTERM, or --secs), and counts what failed.

    steady-load.py URL [--rate 200] [--clients 20] [--secs SECS]

Half of the clients keep their connection, half make a new one for each request. Each has its own clock, so that a slow
answer delays no other's. A request fails by any status but 200, a broken connection, or no answer within 10 s; none is
sent again. What was seen goes to standard output as JSON. Loopback only: names ending in .localhost are this machine.
Exit code 1 if a request failed.
"""

import argparse
import collections
import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse

ANSWER_LIMIT_SECS = 10


class Client(threading.Thread):
    def __init__(self, url, interval, offset, keeps, stop):
        super().__init__(daemon=True)
        self.url, self.interval, self.offset, self.keeps, self.stop = url, interval, offset, keeps, stop
        self.latencies, self.failures, self.served_by, self.late = [], [], collections.Counter(), 0

    def run(self):
        connection = None
        next_at = time.monotonic() + self.offset
        while not self.stop.wait(max(0, next_at - time.monotonic())):
            began = time.monotonic()
            self.late += began - next_at > 1
            next_at = max(next_at + self.interval, began - 1)
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.url.port, timeout=ANSWER_LIMIT_SECS)
                headers = {"Host": self.url.netloc} | ({} if self.keeps else {"Connection": "close"})
                connection.request("GET", self.url.path, headers=headers)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    raise OSError(f"status {answer.status}")
                self.served_by[answer.headers.get("x-served-by", "?")] += 1
                self.latencies.append(time.monotonic() - began)
                if not self.keeps or answer.will_close:
                    connection.close()
                    connection = None
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{time.strftime('%H:%M:%S')} {type(error).__name__}: {error}")
                connection = None


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url", type=urllib.parse.urlsplit)
    parser.add_argument("--rate", type=float, default=200)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--secs", type=float)
    options = parser.parse_args()
    if not options.url.hostname.endswith("localhost"):
        sys.exit("only a load balancer of this very machine")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    interval = options.clients / options.rate
    clients = [
        Client(options.url, interval, n * interval / options.clients, n % 2 == 0, stop) for n in range(options.clients)
    ]
    began = time.monotonic()
    for client in clients:
        client.start()
    stop.wait(options.secs)
    stop.set()
    for client in clients:
        client.join(ANSWER_LIMIT_SECS + 1)
    took = time.monotonic() - began
    latencies = sorted(secs for client in clients for secs in client.latencies)
    failures = [failure for client in clients for failure in client.failures]
    sent = len(latencies) + len(failures)
    served_by = sum((client.served_by for client in clients), collections.Counter())
    print(json.dumps({
        "sent": sent, "failed": len(failures), "secs": round(took, 1), "rate": round(sent / took, 1),
        "late": sum(client.late for client in clients),
        "p50_ms": round(latencies[len(latencies) // 2] * 1000, 1) if latencies else None,
        "p99_ms": round(latencies[len(latencies) * 99 // 100] * 1000, 1) if latencies else None,
        "max_ms": round(latencies[-1] * 1000, 1) if latencies else None,
        "served_by": dict(served_by), "failures": failures[:5],
    }))
    return 1 if failures else 0


sys.exit(main())
