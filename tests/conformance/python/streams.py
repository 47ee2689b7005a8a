"""The account's trade updates, by TradingStream: what each order says as it lives, and a connection that is lost."""

import asyncio
import threading
import time

import websockets
from alpaca.trading.enums import OrderSide, OrderStatus, TimeInForce, TradeEvent
from alpaca.trading.models import TradeUpdate
from alpaca.trading.requests import ReplaceOrderRequest
from alpaca.trading.stream import TradingStream

from harness import (
    KEYS,
    WS_URL,
    Failed,
    admin,
    between,
    check,
    equal,
    eventually,
    fields,
    filled,
    flat,
    limit,
    market,
    number,
)
from harness import status, trading, true, working

updates = []
_stream = TradingStream(*KEYS, url_override=f"{WS_URL}/stream")
_thread = None


async def keep(update):
    updates.append(update)


def listening():
    """Starts the stream once, and waits until the venue has it."""
    global _thread
    if _thread is None:
        _stream.subscribe_trade_updates(keep)
        _thread = threading.Thread(target=_stream.run, daemon=True)
        _thread.start()
    connected()


def connected():
    eventually("a connected stream", lambda: admin("state")["stream_connected"], seconds=40)
    # Connected is not yet listening: orders go in until one is heard.
    for _ in range(100):
        probe = limit(price=150)
        trading.cancel_order_by_id(probe.id)
        until = time.monotonic() + 0.3
        while time.monotonic() < until:
            if events(probe):
                status(probe, OrderStatus.CANCELED)
                return
            time.sleep(0.01)
    raise Failed("updates of an order once connected", "none")


def stop():
    if _thread:
        _stream.stop()
        _thread.join(10)


def events(order):
    return [update.event for update in list(updates) if update.order.id == order.id]


def heard(order, event, count=1, seconds=15):
    """Waits for an event of an order, and gives the last of them."""

    def probe():
        found = [update for update in list(updates) if update.order.id == order.id and update.event == event]
        return found if len(found) >= count else None

    return eventually(f"event {event.value}, of {events(order)}", probe, seconds)[-1]


@check
def a_fill_is_streamed():
    flat()
    listening()
    sent = market(qty=3)
    fill = heard(sent, TradeEvent.FILL)
    true(isinstance(fill, TradeUpdate), f"a TradeUpdate, {type(fill)}")
    fields(fill, qty=3, position_qty=3)
    between(fill.price, 229, 231, "price")
    true(fill.execution_id, "an execution id")
    fields(fill.order, status=OrderStatus.FILLED, filled_qty=3, client_order_id=sent.client_order_id, symbol="AAPL")
    number(fill.order.filled_avg_price, fill.price, "filled_avg_price")
    true(fill.timestamp >= sent.submitted_at, "a timestamp after the submission")
    names = events(sent)
    equal(names, sorted(names, key=[TradeEvent.PENDING_NEW, TradeEvent.NEW, TradeEvent.FILL].index), "the events")
    true(TradeEvent.NEW in names, f"new, among {names}")


@check
def a_partial_fill_is_streamed():
    flat()
    listening()
    sent = working(limit(qty=4, price=200))
    admin("fill", {"order": sent.client_order_id, "qty": "1", "price": "199.5"})
    part = heard(sent, TradeEvent.PARTIAL_FILL)
    fields(part, qty=1, price=199.5, position_qty=1)
    fields(part.order, status=OrderStatus.PARTIALLY_FILLED, filled_qty=1)
    admin("fill", {"order": sent.client_order_id, "qty": "3", "price": "199.9"})
    rest = heard(sent, TradeEvent.FILL)
    fields(rest, qty=3, price=199.9, position_qty=4)
    true(rest.execution_id != part.execution_id, "an execution id of its own")
    fields(rest.order, filled_qty=4, filled_avg_price=199.8)


@check
def the_end_of_orders_is_streamed():
    flat()
    listening()
    sent = working(limit(price=200, tif=TimeInForce.GTC))
    new = trading.replace_order_by_id(sent.id, ReplaceOrderRequest(limit_price=201))
    replaced = heard(sent, TradeEvent.REPLACED)
    fields(replaced.order, status=OrderStatus.REPLACED, replaced_by=new.id)
    heard(new, TradeEvent.NEW)
    trading.cancel_order_by_id(new.id)
    fields(heard(new, TradeEvent.CANCELED).order, status=OrderStatus.CANCELED, filled_qty=0)
    admin("reject", {"count": 1})
    rejected = limit()
    fields(heard(rejected, TradeEvent.REJECTED).order, status=OrderStatus.REJECTED)


@check
def a_short_position_is_streamed_as_negative():
    flat()
    listening()
    sent = market(qty=2, side=OrderSide.SELL)
    fields(heard(sent, TradeEvent.FILL), position_qty=-2)


@check
def a_dropped_stream_comes_back():
    flat()
    listening()
    admin("faults", "stream: drop")
    missed = limit(price=200)
    status(missed, OrderStatus.NEW)
    connected()
    sent = market(qty=1)
    heard(sent, TradeEvent.FILL)
    filled(sent)


@check
def an_ended_stream_comes_back():
    flat()
    listening()
    admin("faults", "stream: end")
    connected()
    heard(market(qty=1), TradeEvent.FILL)


@check
def a_stream_that_is_refused_for_a_while_comes_back():
    flat()
    listening()
    admin("faults", "stream: refuse 2s\nstream: drop")
    connected()
    heard(market(qty=1), TradeEvent.FILL)


@check
def a_duplicate_update_has_the_same_execution_id():
    flat()
    listening()
    sent = working(limit(qty=1, price=200))
    admin("faults", "stream: duplicate")
    admin("fill", {"order": sent.client_order_id, "qty": "1", "price": "200"})
    heard(sent, TradeEvent.FILL, count=2)
    twice = [
        update.execution_id for update in updates if update.order.id == sent.id and update.event == TradeEvent.FILL
    ]
    equal(len(set(twice)), 1, "different execution ids")


@check
def a_second_stream_of_the_account_is_refused():
    flat()
    listening()
    second = TradingStream(*KEYS, url_override=f"{WS_URL}/stream")
    try:
        asyncio.run(second._connect())
    except websockets.WebSocketException as error:
        true("429" in str(error), f"HTTP 429, in {error}")
    else:
        raise Failed("HTTP 429 on the upgrade", "a connection")
    heard(market(qty=1), TradeEvent.FILL)


@check
def wrong_keys_are_refused_on_the_stream():
    # The SDK tries again for ever, so one try is made as it makes it.
    stranger = TradingStream("nobody", "nothing", url_override=f"{WS_URL}/stream")

    async def once():
        await stranger._connect()
        try:
            await stranger._auth()
        finally:
            await stranger.close()

    was_listening = _thread is not None
    if was_listening:
        stop_for_good()
    try:
        asyncio.run(once())
    except ValueError as error:
        equal(str(error), "failed to authenticate", "the error")
    else:
        raise Failed("a ValueError", "no error")


def stop_for_good():
    """Leaves the account's only slot to somebody else."""
    stop()
    eventually("a free slot", lambda: not admin("state")["stream_connected"])
