"""What the SDK raises when the venue refuses, with the extra keys that programs read."""

from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, TimeInForce
from alpaca.trading.requests import LimitOrderRequest, ReplaceOrderRequest, StopOrderRequest

from harness import (
    KEYS,
    URL,
    admin,
    between,
    check,
    equal,
    filled,
    flat,
    limit,
    market,
    pin,
    refused,
    status,
    trading,
    true,
)
from harness import working

NOBODY = "00000000-0000-4000-8000-000000000000"


@check
def insufficient_buying_power():
    flat()
    body = refused(
        lambda: limit(qty=100_000, price=230),
        403,
        40310000,
        "insufficient buying power",
        buying_power=None,
        cost_basis=None,
    )
    true(isinstance(body["buying_power"], str) and isinstance(body["cost_basis"], str), f"strings, in {body}")
    between(body["cost_basis"], 22_900_000, 23_100_000, "cost_basis")


@check
def insufficient_qty():
    flat()
    filled(market(qty=2))
    working(limit(qty=2, price=260, side=OrderSide.SELL))
    message = "insufficient qty available for order (requested: 1, available: 0)"
    sell = lambda: limit(qty=1, price=261, side=OrderSide.SELL)  # noqa: E731
    keys = {"available": "0", "existing_qty": "2", "held_for_orders": "2", "symbol": "AAPL"}
    refused(sell, 403, 40310000, message, **keys)
    refused(lambda: trading.close_position("AAPL"), 403, 40310000, "insufficient qty available", held_for_orders="2")


@check
def a_client_order_id_is_unique_for_ever():
    flat()
    sent = working(limit())
    trading.cancel_order_by_id(sent.id)
    status(sent, OrderStatus.CANCELED)
    again = LimitOrderRequest(
        symbol="AAPL",
        qty=1,
        side=OrderSide.BUY,
        time_in_force=TimeInForce.DAY,
        limit_price=200,
        client_order_id=sent.client_order_id,
    )
    refused(lambda: trading.submit_order(again), 422, 40010001, "client_order_id must be unique")


@check
def an_unknown_order():
    refused(lambda: trading.get_order_by_id(NOBODY), 404, 40410000, "order not found")
    refused(lambda: trading.get_order_by_client_id("nobody"), 404, 40410000, "order not found")
    refused(lambda: trading.cancel_order_by_id(NOBODY), 404, 40410000, "order not found")
    refused(lambda: trading.replace_order_by_id(NOBODY, ReplaceOrderRequest(qty=1)), 404, 40410000, "order not found")


@check
def an_order_that_is_over():
    flat()
    done = filled(market(qty=1))
    refused(lambda: trading.cancel_order_by_id(done.id), 422, 42210000, 'order is already in "filled" state')
    refused(lambda: trading.replace_order_by_id(done.id, ReplaceOrderRequest(qty=2)), 422, 42210000)


@check
def a_wash_trade():
    flat()
    filled(market(qty=5))
    buy = working(limit(price=225))
    sell = StopOrderRequest(symbol="AAPL", qty=1, side=OrderSide.SELL, time_in_force=TimeInForce.DAY, stop_price=220)
    message = "potential wash trade detected. use complex orders"
    refused(
        lambda: trading.submit_order(sell), 403, 40310000, message, existing_order_id=str(buy.id), reject_reason=None
    )


@check
def prices_off_the_grid():
    flat()
    refused(
        lambda: limit(price=200.123), 422, 42210000, "sub-penny increment does not fulfill minimum pricing criteria"
    )


@check
def an_unknown_symbol():
    refused(lambda: limit("NOPE"), 422, 42210000)


@check
def fractions_where_they_are_not_allowed():
    flat()
    refused(lambda: limit(qty=0.5, tif=TimeInForce.GTC), 422, 42210000, "fractional orders must be DAY orders")
    refused(lambda: market(qty=0.5, side=OrderSide.SELL), 403, 40310000, "short")


@check
def crypto_rules():
    flat()
    refused(lambda: limit("BTC/USD", qty=0.01, price=90000, tif=TimeInForce.DAY), 422, 42210000, "time_in_force")
    refused(
        lambda: limit("BTC/USD", qty=0.0001, price=90000, tif=TimeInForce.GTC),
        403,
        40310000,
        "minimal amount of order 10",
    )
    refused(
        lambda: market("BTC/USD", side=OrderSide.SELL, qty=1, tif=TimeInForce.GTC),
        403,
        40310000,
        "insufficient balance",
    )


@check
def a_position_that_is_not_there():
    flat()
    refused(lambda: trading.get_open_position("SPY"), 404, 40410000, "position does not exist")
    refused(lambda: trading.close_position("SPY"), 404, 40410000, "position does not exist")


@check
def wrong_keys():
    stranger = TradingClient("nobody", "nothing", url_override=URL)
    refused(stranger.get_account, 401, None, "unauthorized.")


@check
def a_wrong_bearer_token():
    stranger = TradingClient(oauth_token="nothing", url_override=URL)
    refused(stranger.get_account, 401, None, "unauthorized.")


@check
def too_many_requests():
    flat()
    client = TradingClient(*KEYS, url_override=URL)
    client._retry_wait = 0.05  # the SDK's constructor cannot say so, and 3 s thrice is long
    admin("faults", "get_account x2: too-many")
    true(client.get_account().id, "an account after two retries")
    admin("faults", "get_account x4: too-many")
    try:
        refused(client.get_account, 429, 42910000)
    finally:
        admin("faults", method="DELETE")


@check
def an_order_that_the_market_rejects():
    flat()
    pin("AAPL", 230)
    admin("reject", {"count": 1})
    sent = limit()
    gone = status(sent, OrderStatus.REJECTED)
    equal((gone.filled_qty, bool(gone.failed_at)), ("0", True), "filled_qty and failed_at")
