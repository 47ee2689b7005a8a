"""Orders of several parts: bracket, one-cancels-other, one-triggers-other, and options, alone and in legs."""

from datetime import datetime, timedelta, timezone

from alpaca.trading.enums import (
    AssetClass,
    OrderClass,
    OrderSide,
    OrderStatus,
    OrderType,
    PositionIntent,
    QueryOrderStatus,
)
from alpaca.trading.enums import TimeInForce
from alpaca.trading.requests import (
    GetOrderByIdRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
    OptionLegRequest,
    ReplaceOrderRequest,
    StopLossRequest,
    TakeProfitRequest,
)

from harness import between, check, client_id, equal, eventually, fields, filled, flat, limit, market, pin, refused
from harness import status, trading, true, working

BUY, SELL = OrderSide.BUY, OrderSide.SELL
DAY, GTC = TimeInForce.DAY, TimeInForce.GTC


def option(root="AAPL", right="C", strike=230, days=45):
    """The symbol of a contract that expires on a Friday about so many days from now."""
    day = datetime.now(timezone.utc).date() + timedelta(days=days)
    day += timedelta(days=(4 - day.weekday()) % 7)
    return f"{root}{day:%y%m%d}{right}{strike * 1000:08d}"


def nested(order):
    return trading.get_order_by_id(order.id, GetOrderByIdRequest(nested=True))


def bracket(qty=2, price=229, stop_limit=None):
    return limit(
        qty=qty,
        price=price,
        order_class=OrderClass.BRACKET,
        take_profit=TakeProfitRequest(limit_price=250),
        stop_loss=StopLossRequest(stop_price=210, limit_price=stop_limit),
    )


@check
def a_bracket_holds_its_children_until_the_entry_fills():
    flat()
    sent = bracket(price=220)
    fields(sent, order_class=OrderClass.BRACKET)
    equal(len(sent.legs or []), 2, "number of legs")
    profit, loss = sorted(sent.legs, key=lambda leg: leg.type != OrderType.LIMIT)
    fields(profit, type=OrderType.LIMIT, side=SELL, limit_price=250, qty=2, status=OrderStatus.HELD)
    fields(loss, type=OrderType.STOP, side=SELL, stop_price=210, limit_price=None, status=OrderStatus.HELD)
    working(sent)
    pin("AAPL", 219)
    filled(sent)
    working(profit)
    pin("AAPL", 251)
    filled(profit)
    fields(status(loss, OrderStatus.CANCELED), filled_qty=0)
    equal(trading.get_all_positions(), [], "positions after the exit")
    fields(nested(sent), status=OrderStatus.FILLED)


@check
def the_stop_of_a_bracket_ends_its_profit():
    flat()
    sent = bracket(price=240, stop_limit=205)
    profit, loss = sorted(sent.legs, key=lambda leg: leg.type != OrderType.LIMIT)
    fields(loss, type=OrderType.STOP_LIMIT, stop_price=210, limit_price=205)
    filled(sent)
    working(profit)
    pin("AAPL", 209)
    filled(loss)
    status(profit, OrderStatus.CANCELED)


@check
def canceling_a_bracket_cancels_the_group():
    flat()
    sent = bracket(price=220)
    working(sent)
    trading.cancel_order_by_id(sent.id)
    for order in (sent, *sent.legs):
        status(order, OrderStatus.CANCELED)


@check
def the_prices_of_a_bracket_can_be_replaced_and_its_qty_cannot():
    flat()
    sent = bracket(price=240)
    filled(sent)
    profit = next(leg for leg in sent.legs if leg.type == OrderType.LIMIT)
    working(profit)
    call = lambda: trading.replace_order_by_id(profit.id, ReplaceOrderRequest(qty=1))  # noqa: E731
    refused(call, 422, 42210000, "qty cannot be changed")
    new = trading.replace_order_by_id(profit.id, ReplaceOrderRequest(limit_price=255))
    fields(new, limit_price=255, replaces=profit.id)


@check
def one_cancels_the_other():
    flat()
    filled(market(qty=2))
    request = LimitOrderRequest(
        symbol="AAPL",
        qty=2,
        side=SELL,
        time_in_force=GTC,
        order_class=OrderClass.OCO,
        take_profit=TakeProfitRequest(limit_price=250),
        stop_loss=StopLossRequest(stop_price=210),
    )
    sent = trading.submit_order(request)
    fields(sent, order_class=OrderClass.OCO, type=OrderType.LIMIT, limit_price=250, side=SELL)
    equal([leg.type for leg in sent.legs or []], [OrderType.STOP], "types of the legs")
    working(sent)
    pin("AAPL", 209)
    filled(sent.legs[0])
    status(sent, OrderStatus.CANCELED)


@check
def one_triggers_the_other():
    flat()
    sent = limit(price=225, qty=1, order_class=OrderClass.OTO, stop_loss=StopLossRequest(stop_price=200))
    fields(sent, order_class=OrderClass.OTO)
    equal([leg.status for leg in sent.legs or []], [OrderStatus.HELD], "statuses of the legs")
    working(sent)
    pin("AAPL", 224)
    filled(sent)
    loss = working(sent.legs[0])
    fields(loss, type=OrderType.STOP, stop_price=200, side=SELL)
    pin("AAPL", 199)
    filled(loss)


@check
def children_are_listed_inside_their_parent_when_asked():
    flat()
    sent = bracket(price=220)
    working(sent)
    found = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=True, limit=1))
    equal(found[0].id, sent.id, "the newest order")
    equal({leg.id for leg in found[0].legs or []}, {leg.id for leg in sent.legs}, "the ids of its legs")
    apart = trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.ALL, nested=False, limit=3))
    true({leg.id for leg in sent.legs} <= {order.id for order in apart}, "the legs as orders of their own")


@check
def an_option_is_bought_and_closed():
    flat()
    symbol = option()
    sent = market(symbol, qty=1, position_intent=PositionIntent.BUY_TO_OPEN)
    fields(sent, symbol=symbol, asset_class=AssetClass.US_OPTION, position_intent=PositionIntent.BUY_TO_OPEN)
    done = filled(sent)
    position = trading.get_open_position(symbol)
    fields(position, asset_class=AssetClass.US_OPTION, qty=1)
    between(float(position.cost_basis) / float(done.filled_avg_price), 99.9, 100.1, "cost per price")
    closing = trading.close_position(symbol)
    fields(closing, symbol=symbol, side=SELL)
    filled(closing)


@check
def an_option_limit_order_rests():
    flat()
    sent = working(limit(option(strike=230), qty=1, price=0.55))
    fields(sent, limit_price=0.55, type=OrderType.LIMIT)
    trading.cancel_order_by_id(sent.id)
    status(sent, OrderStatus.CANCELED)


def legs():
    return [
        OptionLegRequest(symbol=option(strike=230), ratio_qty=1, side=BUY, position_intent=PositionIntent.BUY_TO_OPEN),
        OptionLegRequest(
            symbol=option(strike=240), ratio_qty=1, side=SELL, position_intent=PositionIntent.SELL_TO_OPEN
        ),
    ]


@check
def a_spread_of_options_fills_as_one():
    flat()
    request = MarketOrderRequest(qty=1, time_in_force=DAY, order_class=OrderClass.MLEG, legs=legs())
    sent = trading.submit_order(request)
    fields(sent, order_class=OrderClass.MLEG, qty=1, side=None, type=OrderType.MARKET)
    true(not sent.symbol and not sent.asset_id, f"no symbol of its own, {sent.symbol!r}")
    equal([leg.symbol for leg in sent.legs], [leg.symbol for leg in legs()], "symbols of the legs")
    equal([leg.side for leg in sent.legs], [BUY, SELL], "sides of the legs")
    for leg in sent.legs:
        fields(leg, ratio_qty=1, order_class=OrderClass.MLEG)
    filled(sent)
    held = {position.symbol: float(position.qty) for position in trading.get_all_positions()}
    equal(held, {legs()[0].symbol: 1.0, legs()[1].symbol: -1.0}, "positions")


@check
def a_spread_with_a_limit_rests_and_is_canceled_as_one():
    flat()
    request = LimitOrderRequest(
        qty=1, time_in_force=DAY, order_class=OrderClass.MLEG, legs=legs(), limit_price=0.1, client_order_id=client_id()
    )
    sent = working(trading.submit_order(request))
    fields(sent, limit_price=0.1, order_class=OrderClass.MLEG)
    whole = nested(sent)
    equal(len(whole.legs or []), 2, "number of legs")
    refused(lambda: trading.cancel_order_by_id(whole.legs[0].id), 422, 42210000, "individual legs")
    trading.cancel_order_by_id(sent.id)
    status(sent, OrderStatus.CANCELED)
    eventually("no open orders", lambda: not trading.get_orders())
