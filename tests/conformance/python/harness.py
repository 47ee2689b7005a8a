"""What the checks share: their list, the words of a failure, the clients, and the simulator's levers.

Absent on purpose: a test framework. A check is a function, and the runner reads lines.
"""

import json
import os
import time
import traceback
import urllib.error
import urllib.request
import uuid
from decimal import Decimal

from alpaca.common.exceptions import APIError
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, TimeInForce
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

URL = os.environ["SIM_URL"]
WS_URL = os.environ["SIM_WS_URL"]
PAST_URL = os.environ["SIM_PAST_URL"]
PAST_WS_URL = os.environ["SIM_PAST_WS_URL"]
PAST_START = os.environ["SIM_PAST_START"]
KEYS = os.environ["SIM_API_KEY"], os.environ["SIM_API_SECRET"]

trading = TradingClient(*KEYS, url_override=URL)
raw_trading = TradingClient(*KEYS, url_override=URL, raw_data=True)

CHECKS = []
NOTHING = object()


class Failed(Exception):
    """A check that does not hold."""

    def __init__(self, expected, got):
        super().__init__(f"expected {expected}, got {got}")


def check(function):
    CHECKS.append(function)
    return function


def name_of(function):
    return f"{function.__module__}: {function.__name__.replace('_', ' ')}"


def run_checks():
    for function in CHECKS:
        print("plan", name_of(function), sep="\t", flush=True)
    for function in CHECKS:
        try:
            function()
        except Failed as failure:
            report(function, str(failure))
        except APIError as error:
            report(function, f"expected no refusal, got {error}")
        except Exception as error:
            traceback.print_exc()
            report(function, f"expected no exception, got {type(error).__name__}: {error}")
        else:
            print("ok", name_of(function), sep="\t", flush=True)


def report(function, why):
    print("failed", name_of(function), " ".join(why.split())[:1000], sep="\t", flush=True)


def equal(got, expected, what):
    if got != expected:
        raise Failed(f"{what} {expected!r}", repr(got))


def number(got, expected, what):
    """Decimals as the wire has them, so that `"1.50"` is 1.5."""
    if got is None or Decimal(str(got)) != Decimal(str(expected)):
        raise Failed(f"{what} {expected}", repr(got))


def between(got, low, high, what):
    if got is None or not Decimal(str(low)) <= Decimal(str(got)) <= Decimal(str(high)):
        raise Failed(f"{what} from {low} to {high}", repr(got))


def true(got, what):
    if not got:
        raise Failed(what, repr(got))


def fields(thing, **expected):
    """Fields of a model; decimals count as numbers."""
    for name, value in expected.items():
        got = getattr(thing, name)
        compare = number if isinstance(value, (int, float)) and not isinstance(value, bool) else equal
        compare(got, value, f"{type(thing).__name__}.{name}")


def eventually(what, probe, seconds=15):
    """Waits until `probe` gives something, which is returned."""
    until = time.monotonic() + seconds
    while True:
        got = probe()
        if got:
            return got
        if time.monotonic() > until:
            raise Failed(f"{what} within {seconds} s", repr(got))
        time.sleep(0.02)


def refused(call, status, code=None, message=None, **extra):
    """The SDK's error for a call that must be refused; `extra` are keys of the body. A value of None may be any."""
    try:
        got = call()
    except APIError as error:
        body = json.loads(str(error))
        equal(error.status_code, status, "status of the refusal")
        if code is None:
            true("code" not in body, f"a body without a code, in {body}")
        else:
            equal(error.code, code, "code of the refusal")
        if message is not None and message not in error.message:
            raise Failed(f"a message with {message!r}", repr(error.message))
        for key, value in extra.items():
            true(key in body, f"{key} in {body}")
            if value is not None:
                equal(body[key], value, key)
        return body
    raise Failed(f"an APIError with status {status}", repr(got))


def admin(path, body=None, method=None):
    """One lever of the simulator."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{URL}/_sim/{path}", data=data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())
    except urllib.error.HTTPError as error:
        raise Failed(f"/_sim/{path} to be answered well", f"{error.code} {error.read().decode()}") from None


def pin(symbol, price):
    admin("price", {"symbol": symbol, "price": str(price)})


def client_id():
    return f"py-{uuid.uuid4()}"


def flat():
    """No orders, no positions, an open market, known prices: what a check of orders begins with."""
    admin("faults", method="DELETE")
    admin("market", {"market": "open"})
    for symbol, price in {"AAPL": 230, "SPY": 600, "F": 11.5, "MSFT": 450, "BTC/USD": 95000, "ETH/USD": 3300}.items():
        pin(symbol, price)
    trading.cancel_orders()
    eventually("no open orders", lambda: not trading.get_orders())
    trading.close_all_positions(cancel_orders=True)
    eventually("no positions", lambda: not trading.get_all_positions())


def status(order, *wanted, seconds=15):
    """Waits for one of the statuses, and gives the order."""

    def probe():
        found = trading.get_order_by_id(order.id)
        return found if found.status in wanted else None

    return eventually(f"order {order.type} {[word.value for word in wanted]}", probe, seconds)


def filled(order, seconds=15):
    return status(order, OrderStatus.FILLED, seconds=seconds)


def limit(symbol="AAPL", qty=1, price=200, side=OrderSide.BUY, tif=TimeInForce.DAY, **more):
    request = LimitOrderRequest(
        symbol=symbol, qty=qty, side=side, time_in_force=tif, limit_price=price, client_order_id=client_id(), **more
    )
    return trading.submit_order(request)


def market(symbol="AAPL", side=OrderSide.BUY, tif=TimeInForce.DAY, **more):
    request = MarketOrderRequest(symbol=symbol, side=side, time_in_force=tif, client_order_id=client_id(), **more)
    return trading.submit_order(request)


def working(order):
    """Waits until the venue has it."""
    return status(order, OrderStatus.NEW)
