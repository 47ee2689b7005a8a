"""The account and what belongs to it: positions and how they are closed, configurations, history, calendar, assets."""

from datetime import date, datetime, time, timedelta
from uuid import UUID

from alpaca.trading.enums import AccountStatus, AssetClass, AssetExchange, AssetStatus, ContractType, ExerciseStyle
from alpaca.trading.enums import OrderSide, OrderType, PositionSide, TradeConfirmationEmail
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOptionContractsRequest,
    GetPortfolioHistoryRequest,
)

from harness import between, check, equal, eventually, fields, filled, flat, limit, market, number, pin
from harness import admin, raw_trading, refused, trading, true, working


@check
def the_account():
    flat()
    account = trading.get_account()
    fields(account, status=AccountStatus.ACTIVE, currency="USD", trading_blocked=False, account_blocked=False)
    true(isinstance(account.id, UUID) and account.account_number, "an id and a number")
    between(account.cash, 50_000, 150_000, "cash")
    number(account.equity, account.cash, "equity of an account without positions")
    number(account.portfolio_value, account.equity, "portfolio_value")
    between(account.buying_power, account.cash, float(account.cash) * 4 + 1, "buying_power")
    filled(market(qty=10))
    after = trading.get_account()
    between(float(account.cash) - float(after.cash), 2290, 2310, "cash spent")
    between(after.long_market_value, 2290, 2310, "long_market_value")
    true(float(after.buying_power) < float(account.buying_power), "less buying power")


@check
def an_open_order_reserves_buying_power():
    flat()
    before = float(trading.get_account().buying_power)
    working(limit(qty=10, price=200))
    between(before - float(trading.get_account().buying_power), 1999, 2001, "buying power reserved")


@check
def positions():
    flat()
    equal(trading.get_all_positions(), [], "positions of a flat account")
    filled(market(qty=4))
    filled(market("F", qty=10))
    equal({position.symbol for position in trading.get_all_positions()}, {"AAPL", "F"}, "symbols")
    pin("AAPL", 240)
    held = trading.get_open_position("AAPL")
    fields(
        held,
        qty=4,
        qty_available=4,
        side=PositionSide.LONG,
        asset_class=AssetClass.US_EQUITY,
        exchange=AssetExchange.NASDAQ,
    )
    between(held.avg_entry_price, 229, 231, "avg_entry_price")
    between(held.current_price, 239, 241, "current_price")
    between(held.market_value, 956, 964, "market_value")
    number(held.cost_basis, float(held.avg_entry_price) * 4, "cost_basis")
    between(held.unrealized_pl, 32, 48, "unrealized_pl")
    between(held.unrealized_plpc, "0.035", "0.053", "unrealized_plpc, a ratio")
    equal(trading.get_open_position(held.asset_id).symbol, "AAPL", "the position by asset id")
    working(limit(qty=3, price=260, side=OrderSide.SELL))
    fields(trading.get_open_position("AAPL"), qty=4, qty_available=1)


@check
def a_short_position():
    flat()
    filled(market(qty=2, side=OrderSide.SELL))
    held = trading.get_open_position("AAPL")
    fields(held, qty=-2, side=PositionSide.SHORT)
    between(held.market_value, -462, -458, "market_value")
    between(trading.get_account().short_market_value, -462, -458, "short_market_value")
    filled(trading.close_position("AAPL"))


@check
def a_position_is_closed():
    flat()
    filled(market(qty=4))
    order = trading.close_position("AAPL")
    fields(order, symbol="AAPL", qty=4, side=OrderSide.SELL, type=OrderType.MARKET)
    filled(order)
    refused(lambda: trading.get_open_position("AAPL"), 404, 40410000, "position does not exist")


@check
def a_position_is_closed_in_parts():
    flat()
    filled(market(qty=8))
    part = trading.close_position("AAPL", ClosePositionRequest(qty="2"))
    fields(filled(part), qty=2, filled_qty=2)
    part = trading.close_position("AAPL", ClosePositionRequest(percentage="50"))
    fields(filled(part), filled_qty=3)
    fields(trading.get_open_position("AAPL"), qty=3)


@check
def all_positions_are_closed_and_orders_canceled():
    flat()
    filled(market(qty=2))
    filled(market("F", qty=3))
    filled(market("BTC/USD", qty=0.01, tif="gtc"))
    resting = working(limit(qty=2, price=260, side=OrderSide.SELL))
    answers = trading.close_all_positions(cancel_orders=True)
    equal({answer.status for answer in answers}, {200}, "statuses")
    equal({answer.symbol.replace("/", "") for answer in answers}, {"AAPL", "F", "BTCUSD"}, "symbols")
    for answer in answers:
        filled(answer.body)
    eventually("no positions", lambda: not trading.get_all_positions())
    equal(trading.get_order_by_id(resting.id).status.value, "canceled", "status of the resting order")


@check
def what_cannot_be_closed_is_said_in_the_list():
    flat()
    filled(market(qty=2))
    working(limit(qty=2, price=260, side=OrderSide.SELL))
    answers = trading.close_all_positions()
    equal([(answer.symbol, answer.status) for answer in answers], [("AAPL", 403)], "the answers")
    fields(answers[0].body, code=40310000, held_for_orders=2, available=0, existing_qty=2)


@check
def account_configurations():
    flat()
    before = trading.get_account_configurations()
    fields(before, fractional_trading=True, no_shorting=False, suspend_trade=False, max_margin_multiplier="4")
    true(before.trade_confirm_email in TradeConfirmationEmail, "trade_confirm_email")
    changed = before.model_copy(update={"no_shorting": True, "trade_confirm_email": TradeConfirmationEmail.NONE})
    try:
        fields(trading.set_account_configurations(changed), no_shorting=True)
        fields(trading.get_account_configurations(), no_shorting=True, trade_confirm_email=TradeConfirmationEmail.NONE)
        refused(lambda: market(qty=1, side=OrderSide.SELL), 403, 40310000, "not allowed to short")
    finally:
        trading.set_account_configurations(before)
    equal(trading.get_account_configurations(), before, "the configurations restored")


@check
def portfolio_history():
    flat()
    history = trading.get_portfolio_history()
    equal(history.timeframe, "1D", "timeframe of a month")
    lengths = {len(history.timestamp), len(history.equity), len(history.profit_loss), len(history.profit_loss_pct)}
    equal(len(lengths), 1, f"number of lengths, of {lengths}")
    true(history.base_value and history.base_value > 0, "a base value")
    equal(history.timestamp, sorted(history.timestamp), "timestamps in order")
    day = trading.get_portfolio_history(GetPortfolioHistoryRequest(period="1D", timeframe="5Min"))
    equal(day.timeframe, "5Min", "timeframe")


@check
def activities_are_paged():
    # The SDK has no method for them; its users call its `get`.
    flat()
    sent = [filled(market(qty=quantity)) for quantity in (1, 2, 3)]
    page = lambda **query: raw_trading.get("/account/activities/FILL", query)  # noqa: E731
    first = page(page_size=2)
    equal([row["order_id"] for row in first], [str(sent[2].id), str(sent[1].id)], "the newest two")
    equal([row["qty"] for row in first], ["3", "2"], "their quantities, as strings")
    row = first[0]
    wanted = {
        "activity_type": "FILL",
        "type": "fill",
        "side": "buy",
        "symbol": "AAPL",
        "cum_qty": "3",
        "leaves_qty": "0",
    }
    equal({key: row.get(key) for key in wanted}, wanted, "the row")
    equal(row["order_status"], "filled", "order_status")
    moment, _, rest = row["id"].partition("::")
    true(len(moment) == 17 and moment.isdigit() and UUID(rest), f"an id of 17 digits and a uuid, {row['id']}")
    second = page(page_size=2, page_token=first[-1]["id"])
    equal(second[0]["order_id"], str(sent[0].id), "the first of the next page")
    upwards = page(direction="asc", after=sent[1].submitted_at.isoformat())
    equal([row["order_id"] for row in upwards], [str(sent[1].id), str(sent[2].id)], "those after a moment, upwards")
    typed = raw_trading.get("/account/activities", {"activity_types": "FILL", "page_size": 1})
    equal(typed, first[:1], "the newest by activity_types")


@check
def the_clock():
    admin("market", {"market": "open"})
    clock = trading.get_clock()
    fields(clock, is_open=True)
    true(clock.timestamp.utcoffset() in (timedelta(hours=-4), timedelta(hours=-5)), "New York's offset")
    true(clock.next_close > clock.timestamp and clock.next_open > clock.timestamp, "what comes next lies ahead")
    admin("market", {"market": "closed"})
    fields(trading.get_clock(), is_open=False)
    admin("market", {"market": "open"})


@check
def the_calendar():
    days = trading.get_calendar(GetCalendarRequest(start=date(2024, 11, 25), end=date(2024, 11, 30)))
    equal([day.date.day for day in days], [25, 26, 27, 29], "trading days of Thanksgiving week")
    equal(days[0].open, datetime(2024, 11, 25, 9, 30), "open")
    equal([day.close.time() for day in days], [time(16)] * 3 + [time(13)], "closes, with the early one")


@check
def assets():
    everything = trading.get_all_assets()
    true({"AAPL", "SPY", "BTC/USD"} <= {asset.symbol for asset in everything}, "shares and coins")
    coins = trading.get_all_assets(GetAssetsRequest(asset_class=AssetClass.CRYPTO, status=AssetStatus.ACTIVE))
    equal({asset.asset_class for asset in coins}, {AssetClass.CRYPTO}, "classes")
    apple = trading.get_asset("AAPL")
    fields(apple, symbol="AAPL", exchange=AssetExchange.NASDAQ, tradable=True, fractionable=True, shortable=True)
    fields(apple, marginable=True, easy_to_borrow=True, status=AssetStatus.ACTIVE)
    equal(trading.get_asset(apple.id), apple, "the asset by id")
    coin = trading.get_asset("BTC%2FUSD")
    fields(coin, symbol="BTC/USD", asset_class=AssetClass.CRYPTO, exchange=AssetExchange.CRYPTO, marginable=False)
    true(coin.min_order_size and coin.min_trade_increment and coin.price_increment, "the increments of a coin")
    refused(lambda: trading.get_asset("NOPE"), 404, 40410000, "asset not found for NOPE")


@check
def option_contracts_are_paged():
    request = GetOptionContractsRequest(underlying_symbols=["AAPL"], limit=5, type=ContractType.CALL)
    first = trading.get_option_contracts(request)
    equal(len(first.option_contracts), 5, "contracts of a page")
    true(first.next_page_token, "a token")
    contract = first.option_contracts[0]
    fields(contract, underlying_symbol="AAPL", root_symbol="AAPL", type=ContractType.CALL, size="100", tradable=True)
    fields(contract, style=ExerciseStyle.AMERICAN, status=AssetStatus.ACTIVE)
    true(contract.strike_price > 0 and contract.symbol.startswith("AAPL"), "strike and symbol")
    request = GetOptionContractsRequest(
        underlying_symbols=["AAPL"], limit=5, type=ContractType.CALL, page_token=first.next_page_token
    )
    second = trading.get_option_contracts(request)
    seen = {one.symbol for one in first.option_contracts} & {one.symbol for one in second.option_contracts}
    equal(seen, set(), "contracts on both pages")
    equal(trading.get_option_contract(contract.symbol), contract, "the contract by symbol")
    equal(trading.get_option_contract(contract.id), contract, "the contract by id")
