"""Plots the last prices of a symbol in the terminal, as they are told.

    PYTHONPATH=.tools/python python3 examples/python/plot_prices.py AAPL
    PYTHONPATH=.tools/python python3 examples/python/plot_prices.py BTC/USD --of quotes --points 30

Minute bars by default, one point a minute; `--of quotes` or `--of trades` has more to show at once. The symbol must be heard: name it in
STOCK_STREAM_SYMBOLS or CRYPTO_STREAM_SYMBOLS, or let `--subscribe` ask the gateway for it.
"""

import argparse
import asyncio
import collections
import json
import os
import sys
from pathlib import Path

import nats

sys.path.insert(0, str(Path(__file__).parent / "gen"))
from stream.v0 import stream_pb2 as pb  # noqa: E402  (made by `make python-proto`)

BARS = "▁▂▃▄▅▆▇█"


def token(symbol):
    """A symbol as one token of a subject: what is not plain is written =HH."""
    plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_/"
    return "".join(c if c in plain else f"={ord(c):02X}" for c in symbol)


def price(kind, payload):
    """One price out of a message: of a quote the middle."""
    if kind == "quotes":
        quote = pb.Quote.FromString(payload)
        return (quote.bid_price + quote.ask_price) / 2
    if kind == "trades":
        return pb.Trade.FromString(payload).price
    return pb.Bar.FromString(payload).close


def plot(prices):
    low, high = min(prices), max(prices)
    span = (high - low) or 1
    line = "".join(BARS[round((p - low) / span * (len(BARS) - 1))] for p in prices)
    return f"{low:>12,.2f} {line} {high:<12,.2f} now {prices[-1]:,.2f}"


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("symbol")
    parser.add_argument("--of", choices=["bars", "quotes", "trades"], default="bars")
    parser.add_argument("--points", type=int, default=60, help="prices on the line")
    parser.add_argument("--subscribe", action="store_true", help="ask the gateway to hear the symbol")
    parser.add_argument("--count", type=int, default=0, help="stop after so many prices; 0 is never")
    parser.add_argument("--prefix", default="nalpaca")
    given = parser.parse_args()

    kind = "crypto" if "/" in given.symbol else "stocks"
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    if given.subscribe:
        wish = {"subscriptions": [{"class": kind, "channel": given.of, "symbols": [given.symbol]}]}
        answer = await client.request(f"{given.prefix}.svc.v0.subscriptions.add", json.dumps(wish).encode(), timeout=15)
        if answer.headers and answer.headers.get("Nats-Service-Error"):
            sys.exit(f"not subscribed: {answer.headers['Nats-Service-Error']}")

    # Minute bars of shares have the shortest subject.
    subject = f"{given.prefix}.data.v0.{kind}."
    subject += token(given.symbol) if (kind, given.of) == ("stocks", "bars") else f"{given.of}.{token(given.symbol)}"
    prices = collections.deque(maxlen=given.points)
    told = await client.subscribe(subject)
    seen = 0
    async for message in told.messages:
        prices.append(price(given.of, message.data))
        end = "\r" if sys.stdout.isatty() else "\n"
        print(f"{given.symbol} {plot(prices)}", end=end, flush=True)
        seen += 1
        if seen == given.count:
            break
    print()
    await client.close()


try:
    asyncio.run(main())
except KeyboardInterrupt:
    print()
