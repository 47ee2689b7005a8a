"""Single orders: their types and times in force, looking them up, listing, replacing, canceling."""

import time
from datetime import timedelta
from uuid import UUID

from alpaca.common.enums import Sort
from alpaca.trading.enums import (
    AssetClass,
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    QueryOrderStatus,
    TimeInForce,
)
from alpaca.trading.requests import (
    GetOrdersRequest,
    LimitOrderRequest,
    ReplaceOrderRequest,
    StopLimitOrderRequest,
    StopOrderRequest,
    TrailingStopOrderRequest,
)

from harness import between, check, client_id, equal, eventually, fields, filled, flat, limit, market, number, pin
from harness import admin, raw_trading, status, trading, true, working

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC


@check
def a_market_order_fills():
    flat()
    sent = market(qty=3)
    fields(sent, symbol="AAPL", qty=3, filled_qty=0, side=BUY, time_in_force=DAY, extended_hours=False, legs=None)
    fields(sent, type=OrderType.MARKET, order_type=OrderType.MARKET, asset_class=AssetClass.US_EQUITY, notional=None)
    fields(sent, limit_price=None, stop_price=None, filled_avg_price=None, replaces=None, replaced_by=None)
    true(
        sent.status in (OrderStatus.PENDING_NEW, OrderStatus.NEW, OrderStatus.ACCEPTED), f"a live status, {sent.status}"
    )
    true(isinstance(sent.id, UUID) and isinstance(sent.asset_id, UUID), "uuids as ids")
    done = filled(sent)
    fields(done, filled_qty=3, client_order_id=sent.client_order_id, canceled_at=None, expired_at=None)
    between(done.filled_avg_price, 229, 231, "filled_avg_price")
    true(
        done.filled_at and done.filled_at >= done.submitted_at, f"filled_at {done.filled_at} after {done.submitted_at}"
    )
    true(done.submitted_at.utcoffset() == timedelta(0), "UTC times")


@check
def an_order_without_client_id_is_given_one():
    flat()
    request = LimitOrderRequest(symbol="AAPL", qty=1, side=BUY, time_in_force=DAY, limit_price=200)
    sent = trading.submit_order(request)
    true(UUID(sent.client_order_id), "a uuid as client_order_id")


@check
def a_limit_order_waits_for_its_price():
    flat()
    sent = working(limit(price=225.5, qty=2, tif=GTC))
    fields(sent, limit_price=225.5, type=OrderType.LIMIT, time_in_force=GTC, filled_qty=0)
    pin("AAPL", 225)
    done = filled(sent)
    between(done.filled_avg_price, 220, 225.5, "filled_avg_price")


@check
def a_stop_order_is_triggered():
    flat()
    request = StopOrderRequest(symbol="AAPL", qty=1, side=BUY, time_in_force=DAY, stop_price=235)
    sent = working(trading.submit_order(request))
    fields(sent, type=OrderType.STOP, stop_price=235, limit_price=None)
    pin("AAPL", 236)
    between(filled(sent).filled_avg_price, 235, 241, "filled_avg_price")


@check
def a_stop_limit_order_is_triggered_and_keeps_its_limit():
    flat()
    request = StopLimitOrderRequest(symbol="AAPL", qty=1, side=BUY, time_in_force=DAY, stop_price=235, limit_price=237)
    sent = working(trading.submit_order(request))
    fields(sent, type=OrderType.STOP_LIMIT, stop_price=235, limit_price=237)
    pin("AAPL", 236)
    between(filled(sent).filled_avg_price, 235, 237, "filled_avg_price")


@check
def a_trailing_stop_follows_the_price():
    flat()
    filled(market(qty=1))
    request = TrailingStopOrderRequest(symbol="AAPL", qty=1, side=SELL, time_in_force=GTC, trail_percent=5)
    sent = working(trading.submit_order(request))
    fields(sent, type=OrderType.TRAILING_STOP, trail_percent="5", trail_price=None)
    between(sent.hwm, 229, 231, "hwm")
    between(sent.stop_price, 217, 220, "stop_price")
    pin("AAPL", 250)
    moved = eventually("a raised hwm", lambda: (o := trading.get_order_by_id(sent.id)) and float(o.hwm) > 248 and o)
    between(moved.stop_price, 236, 238, "stop_price")
    pin("AAPL", 235)
    filled(sent)


@check
def a_trailing_stop_by_price():
    flat()
    request = TrailingStopOrderRequest(symbol="AAPL", qty=1, side=BUY, time_in_force=DAY, trail_price=4.5)
    sent = working(trading.submit_order(request))
    fields(sent, trail_price="4.5", trail_percent=None)
    between(sent.stop_price, 233.5, 235.5, "stop_price")


@check
def notional_and_fractional_orders_fill():
    flat()
    sent = market(notional=115)
    fields(sent, notional=115, qty=None)
    done = filled(sent)
    between(done.filled_qty, "0.49", "0.51", "filled_qty")
    part = filled(market(qty=0.25))
    fields(part, filled_qty="0.25")
    position = trading.get_open_position("AAPL")
    between(position.qty, "0.74", "0.76", "qty of the position")
    fractional_limit = working(limit(qty=0.5, price=220))
    fields(fractional_limit, qty=0.5, limit_price=220)


@check
def crypto_orders():
    flat()
    done = filled(market("BTC/USD", qty=0.01, tif=GTC))
    fields(done, symbol="BTC/USD", asset_class=AssetClass.CRYPTO, filled_qty=0.01)
    for symbol in ("BTCUSD", "BTC%2FUSD"):
        position = trading.get_open_position(symbol)
        between(position.qty, "0.0099", "0.01", "qty of the position, less the fee")
    by_money = filled(market("ETH/USD", notional=330, tif=TimeInForce.IOC))
    between(by_money.filled_qty, "0.099", "0.101", "filled_qty")
    resting = working(limit("BTC/USD", qty=0.01, price=90000, tif=GTC))
    fields(resting, limit_price=90000, time_in_force=GTC)
    request = StopLimitOrderRequest(
        symbol="BTC/USD", qty=0.001, side=BUY, time_in_force=GTC, stop_price=99000, limit_price=99500
    )
    fields(working(trading.submit_order(request)), type=OrderType.STOP_LIMIT, stop_price=99000)


@check
def extended_hours_orders():
    flat()
    admin("market", {"market": "closed"})
    sent = limit(price=220, extended_hours=True)
    fields(sent, extended_hours=True)
    true(
        sent.status in (OrderStatus.ACCEPTED, OrderStatus.NEW, OrderStatus.PENDING_NEW), f"a live status, {sent.status}"
    )
    true(trading.get_order_by_id(sent.id).extended_hours is True, "extended_hours kept")


@check
def orders_for_the_auctions():
    flat()
    admin("market", {"market": "closed"})
    opening = market(qty=1, tif=TimeInForce.OPG)
    fields(opening, time_in_force=TimeInForce.OPG, status=OrderStatus.ACCEPTED)
    closing = limit(price=220, tif=TimeInForce.CLS)
    fields(closing, time_in_force=TimeInForce.CLS, status=OrderStatus.ACCEPTED)


@check
def immediate_or_cancel_and_fill_or_kill():
    flat()
    for tif in (TimeInForce.IOC, TimeInForce.FOK):
        away = limit(price=200, tif=tif)
        gone = status(away, OrderStatus.CANCELED, OrderStatus.EXPIRED)
        fields(gone, filled_qty=0)
        fields(filled(limit(price=240, tif=tif)), filled_qty=1)


@check
def an_order_parked_outside_hours_fills_at_the_open():
    flat()
    admin("market", {"market": "closed"})
    sent = market(qty=1)
    fields(trading.get_order_by_id(sent.id), status=OrderStatus.ACCEPTED)
    admin("market", {"market": "open"})
    filled(sent)


@check
def an_order_is_found_by_id_and_client_id():
    flat()
    sent = working(limit())
    equal(trading.get_order_by_id(sent.id), sent, "the order by id")
    equal(trading.get_order_by_id(str(sent.id)), sent, "the order by id as text")
    equal(trading.get_order_by_client_id(sent.client_order_id), sent, "the order by client id")


@check
def a_cancel_ends_an_order():
    flat()
    sent = working(limit())
    equal(trading.cancel_order_by_id(sent.id), None, "what cancel gives")
    gone = status(sent, OrderStatus.CANCELED)
    true(gone.canceled_at and gone.canceled_at >= gone.submitted_at, "canceled_at")
    fields(gone, filled_qty=0, filled_at=None)


@check
def cancel_all_answers_for_each():
    flat()
    sent = {working(limit(price=price)).id for price in (200, 201, 202)}
    answers = trading.cancel_orders()
    equal({answer.id for answer in answers}, sent, "the ids")
    equal({answer.status for answer in answers}, {200}, "the statuses")
    eventually("no open orders", lambda: not trading.get_orders())
    equal(trading.cancel_orders(), [], "nothing left to cancel")


@check
def a_replace_makes_a_new_order():
    flat()
    old = working(limit(price=200, qty=2, tif=GTC))
    wanted = client_id()
    new = trading.replace_order_by_id(old.id, ReplaceOrderRequest(qty=3, limit_price=201.25, client_order_id=wanted))
    fields(new, replaces=old.id, qty=3, limit_price=201.25, client_order_id=wanted, time_in_force=GTC, symbol="AAPL")
    true(new.id != old.id, "a new id")
    gone = status(old, OrderStatus.REPLACED)
    fields(gone, replaced_by=new.id, qty=2, limit_price=200)
    true(gone.replaced_at, "replaced_at")
    working(new)
    equal([order.id for order in trading.get_orders()], [new.id], "the open orders")


@check
def a_replace_of_a_stop_and_of_a_trail():
    flat()
    stop = working(
        trading.submit_order(StopOrderRequest(symbol="F", qty=1, side=BUY, time_in_force=GTC, stop_price=13))
    )
    new = trading.replace_order_by_id(stop.id, ReplaceOrderRequest(stop_price=13.5, time_in_force=DAY))
    fields(new, stop_price=13.5, time_in_force=DAY, type=OrderType.STOP)
    trail = working(
        trading.submit_order(TrailingStopOrderRequest(symbol="SPY", qty=1, side=BUY, time_in_force=GTC, trail_price=10))
    )
    new = trading.replace_order_by_id(trail.id, ReplaceOrderRequest(trail=12))
    fields(new, trail_price="12", type=OrderType.TRAILING_STOP)


@check
def orders_are_listed_and_filtered():
    flat()
    a = working(limit("AAPL", price=200))
    b = working(limit("SPY", price=550))
    c = filled(market("F", qty=5))
    d = working(limit("F", qty=5, price=13, side=SELL))
    ids = lambda **filter: [order.id for order in trading.get_orders(GetOrdersRequest(**filter))]  # noqa: E731
    equal(ids(), [d.id, b.id, a.id], "open orders, newest first")
    equal(ids(direction=Sort.ASC), [a.id, b.id, d.id], "open orders, oldest first")
    equal(ids(symbols=["AAPL", "SPY"]), [b.id, a.id], "by symbols")
    equal(ids(side=SELL), [d.id], "by side")
    equal(ids(limit=1), [d.id], "by limit")
    true(c.id in ids(status=QueryOrderStatus.CLOSED), "the filled one among the closed")
    true(a.id not in ids(status=QueryOrderStatus.CLOSED), "no open one among the closed")
    equal(ids(status=QueryOrderStatus.ALL, limit=4), [d.id, c.id, b.id, a.id], "all")


@check
def orders_are_paged_by_time():
    flat()
    sent = []
    for step in range(5):
        sent.append(working(limit(price=200 + step)))
        time.sleep(0.002)  # two orders could share a moment otherwise, and the border is exclusive
    page = lambda **f: trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, limit=2, **f))  # noqa: E731
    # The wire has nanoseconds and Python's datetime has not: a page begins with the order before it, to be left out.
    found, after = [sent[0].id], sent[0].submitted_at
    for _ in range(len(sent)):
        orders = page(direction=Sort.ASC, after=after)
        found += [order.id for order in orders if order.id not in found]
        after = orders[-1].submitted_at
    equal(found, [order.id for order in sent], "ids upwards")
    found, until = [], sent[4].submitted_at
    for _ in range(2):
        orders = page(until=until)
        found += [order.id for order in orders if order.id not in found]
        until = orders[-1].submitted_at
    equal(found, [order.id for order in sent[3::-1]], "ids downwards")


@check
def an_order_filled_in_parts():
    flat()
    sent = working(limit(qty=4, price=200))
    admin("fill", {"order": sent.client_order_id, "qty": "1", "price": "199.5"})
    part = status(sent, OrderStatus.PARTIALLY_FILLED)
    fields(part, filled_qty=1, filled_avg_price=199.5, filled_at=None)
    admin("fill", {"order": sent.client_order_id, "qty": "3", "price": "199.9"})
    done = filled(sent)
    fields(done, filled_qty=4)
    number(done.filled_avg_price, "199.8", "filled_avg_price")


@check
def the_raw_answer_has_every_field_of_an_order():
    flat()
    sent = limit()
    raw = raw_trading.get_order_by_id(sent.id)
    wanted = """id client_order_id created_at updated_at submitted_at filled_at expired_at canceled_at failed_at replaced_at
    replaced_by replaces asset_id symbol asset_class notional qty filled_qty filled_avg_price order_class order_type type side
    time_in_force limit_price stop_price status extended_hours legs trail_percent trail_price hwm""".split()
    equal([name for name in wanted if name not in raw], [], "missing fields")
    equal([type(raw[name]) for name in ("qty", "filled_qty", "limit_price")], [str] * 3, "decimals as strings")


@check
def a_simple_class_may_be_named():
    flat()
    sent = limit(order_class=OrderClass.SIMPLE)
    fields(sent, order_class=OrderClass.SIMPLE)
