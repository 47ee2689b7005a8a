"""Historical data, from the simulator that lives in a known past: rows, pages, adjustment, latest, snapshots."""

from datetime import date, datetime, timedelta, timezone

from alpaca.data.enums import Adjustment, DataFeed, MostActivesBy
from alpaca.data.historical import (
    CryptoHistoricalDataClient,
    NewsClient,
    OptionHistoricalDataClient,
    StockHistoricalDataClient,
)
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.screener import ScreenerClient
from alpaca.data.models import Bar, Quote, Trade
from alpaca.data.requests import (
    CorporateActionsRequest,
    CryptoBarsRequest,
    CryptoLatestBarRequest,
    CryptoLatestOrderbookRequest,
    CryptoLatestQuoteRequest,
    CryptoLatestTradeRequest,
    CryptoQuoteRequest,
    CryptoSnapshotRequest,
    CryptoTradesRequest,
    MostActivesRequest,
    NewsRequest,
    OptionBarsRequest,
    OptionChainRequest,
    OptionLatestQuoteRequest,
    OptionLatestTradeRequest,
    OptionSnapshotRequest,
    OptionTradesRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit

from harness import KEYS, PAST_START, PAST_URL, between, check, equal, fields, refused, true

stocks = StockHistoricalDataClient(*KEYS, url_override=PAST_URL)
raw_stocks = StockHistoricalDataClient(*KEYS, url_override=PAST_URL, raw_data=True)
crypto = CryptoHistoricalDataClient(url_override=PAST_URL)
options = OptionHistoricalDataClient(*KEYS, url_override=PAST_URL)
news = NewsClient(*KEYS, url_override=PAST_URL)

MONDAY = datetime(2024, 11, 25, tzinfo=timezone.utc)
OPEN = datetime(2024, 11, 25, 14, 30, tzinfo=timezone.utc)
CALL = "AAPL241220C00230000"


def sane(bar, symbol):
    true(isinstance(bar, Bar), f"a Bar, {bar!r}")
    equal(bar.symbol, symbol, "symbol")
    true(bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high, f"a low below a high, {bar!r}")
    true(bar.low <= bar.vwap <= bar.high and bar.volume > 0 and bar.trade_count > 0, f"vwap, volume and count, {bar!r}")


@check
def minute_bars_of_stocks():
    request = StockBarsRequest(
        symbol_or_symbols=["AAPL", "SPY"], timeframe=TimeFrame.Minute, start=OPEN, end=OPEN + timedelta(minutes=9)
    )
    bars = stocks.get_stock_bars(request)
    equal(set(bars.data), {"AAPL", "SPY"}, "symbols")
    for symbol, rows in bars.data.items():
        equal(
            [row.timestamp for row in rows],
            [OPEN + timedelta(minutes=n) for n in range(10)],
            "minutes, both ends included",
        )
        for row in rows:
            sane(row, symbol)
    table = bars.df
    equal((len(table), table.index.names), (20, ["symbol", "timestamp"]), "shape of the data frame")


@check
def bars_of_a_single_symbol_and_other_timeframes():
    def times(timeframe, **more):
        request = StockBarsRequest(symbol_or_symbols="SPY", timeframe=timeframe, feed=DataFeed.IEX, **more)
        return [row.timestamp for row in stocks.get_stock_bars(request).data["SPY"]]

    five = times(TimeFrame(5, TimeFrameUnit.Minute), start=OPEN, end=OPEN + timedelta(minutes=29))
    equal(five, [OPEN + timedelta(minutes=5 * n) for n in range(6)], "five minutes")
    days = times(TimeFrame.Day, start=datetime(2024, 11, 18), end=datetime(2024, 11, 25, 23))
    midnights = [datetime(2024, 11, day, 5, tzinfo=timezone.utc) for day in (18, 19, 20, 21, 22, 25)]
    equal(days, midnights, "days, at New York's midnight, without the weekend")
    hours = times(TimeFrame.Hour, start=OPEN.replace(minute=0), limit=3)
    equal(len(hours), 3, "hours up to a limit")


@check
def bars_are_paged():
    # More than fit on one page of 10,000.
    start = MONDAY - timedelta(days=8)
    request = CryptoBarsRequest(
        symbol_or_symbols=["BTC/USD"], timeframe=TimeFrame.Minute, start=start, end=start + timedelta(minutes=10_499)
    )
    rows = crypto.get_crypto_bars(request).data["BTC/USD"]
    equal(len(rows), 10_500, "number of bars")
    equal([rows[0].timestamp, rows[-1].timestamp], [start, start + timedelta(minutes=10_499)], "the first and the last")
    equal(len({row.timestamp for row in rows}), 10_500, "different bars")


@check
def pages_go_over_symbols():
    path = f"{PAST_URL}/v2/stocks/bars"
    query = {
        "symbols": "SPY,AAPL",
        "timeframe": "1Min",
        "start": OPEN.isoformat(),
        "end": OPEN.replace(minute=33).isoformat(),
    }
    query["limit"] = 3
    seen = []
    for _ in range(4):
        answer = stocks._session.get(path, params=query, headers=stocks._get_default_headers()).json()
        seen += [(symbol, row["t"]) for symbol, rows in answer["bars"].items() for row in rows]
        query["page_token"] = answer["next_page_token"]
        if not query["page_token"]:
            break
    minutes = [f"2024-11-25T14:{minute}:00Z" for minute in range(30, 34)]
    equal(seen, [(symbol, minute) for symbol in ("AAPL", "SPY") for minute in minutes], "rows by symbol, then time")


@check
def bars_are_adjusted_for_a_split():
    def closes(adjustment):
        request = StockBarsRequest(
            symbol_or_symbols="AAPL",
            timeframe=TimeFrame.Day,
            start=datetime(2024, 11, 20),
            end=datetime(2024, 11, 25, 23),
            adjustment=adjustment,
        )
        return {row.timestamp.day: (row.close, row.volume) for row in stocks.get_stock_bars(request).data["AAPL"]}

    raw, split = closes(Adjustment.RAW), closes(Adjustment.SPLIT)
    equal(list(raw), [20, 21, 22, 25], "days")
    for day in (20, 21):
        between(raw[day][0] / split[day][0], 3.99, 4.01, f"price before the split, of the {day}th")
        between(split[day][1] / raw[day][1], 3.9, 4.1, f"volume before the split, of the {day}th")
    for day in (22, 25):
        equal(raw[day], split[day], f"the {day}th, after the split")


@check
def trades_and_quotes_of_stocks():
    window = {"symbol_or_symbols": "SPY", "start": OPEN, "end": OPEN + timedelta(seconds=30)}
    trades = stocks.get_stock_trades(StockTradesRequest(**window)).data["SPY"]
    true(len(trades) > 5, f"some trades, {len(trades)}")
    equal(trades, sorted(trades, key=lambda row: row.timestamp), "trades by time")
    for row in trades:
        true(isinstance(row, Trade) and row.price > 0 and row.size > 0, f"a trade, {row!r}")
        true(
            row.exchange and row.tape and row.conditions is not None and isinstance(row.id, int), f"its fields, {row!r}"
        )
        true(OPEN <= row.timestamp <= OPEN + timedelta(seconds=30), f"within the window, {row!r}")
    quotes = stocks.get_stock_quotes(StockQuotesRequest(**window, limit=7)).data["SPY"]
    equal(len(quotes), 7, "quotes up to a limit")
    for row in quotes:
        true(isinstance(row, Quote) and 0 < row.bid_price < row.ask_price, f"a bid below an ask, {row!r}")
        true(row.bid_size > 0 and row.ask_size > 0 and row.bid_exchange and row.tape, f"its fields, {row!r}")


@check
def bars_agree_with_the_trades():
    trades = stocks.get_stock_trades(
        StockTradesRequest(symbol_or_symbols="SPY", start=OPEN, end=OPEN + timedelta(seconds=59, microseconds=999_999))
    ).data["SPY"]
    bar = stocks.get_stock_bars(
        StockBarsRequest(symbol_or_symbols="SPY", timeframe=TimeFrame.Minute, start=OPEN, end=OPEN)
    ).data["SPY"][0]
    prices = [row.price for row in trades]
    fields(bar, open=prices[0], close=prices[-1], high=max(prices), low=min(prices), trade_count=len(prices))
    fields(bar, volume=sum(row.size for row in trades))


@check
def latest_of_stocks():
    both = {"symbol_or_symbols": ["AAPL", "SPY"], "feed": DataFeed.IEX}
    trades = stocks.get_stock_latest_trade(StockLatestTradeRequest(**both))
    quotes = stocks.get_stock_latest_quote(StockLatestQuoteRequest(**both))
    bars = stocks.get_stock_latest_bar(StockLatestBarRequest(**both))
    start = datetime.fromisoformat(PAST_START.replace("Z", "+00:00"))
    for symbol in ("AAPL", "SPY"):
        true(
            trades[symbol].timestamp >= start - timedelta(minutes=2),
            f"a trade of the past's present, {trades[symbol]!r}",
        )
        between(
            trades[symbol].price,
            quotes[symbol].bid_price * 0.97,
            quotes[symbol].ask_price * 1.03,
            "price near the quote",
        )
        sane(bars[symbol], symbol)


@check
def snapshots_of_stocks():
    found = stocks.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=["AAPL", "SPY"], feed=DataFeed.IEX))
    equal(set(found), {"AAPL", "SPY"}, "symbols")
    for symbol, snapshot in found.items():
        true(snapshot.latest_trade.price > 0 and snapshot.latest_quote.ask_price > 0, "a trade and a quote")
        for bar in (snapshot.minute_bar, snapshot.daily_bar, snapshot.previous_daily_bar):
            sane(bar, symbol)
        equal(snapshot.daily_bar.timestamp, datetime(2024, 11, 26, 5, tzinfo=timezone.utc), "today")
        equal(snapshot.previous_daily_bar.timestamp, datetime(2024, 11, 25, 5, tzinfo=timezone.utc), "yesterday")


@check
def a_symbol_without_data_is_absent():
    request = StockBarsRequest(
        symbol_or_symbols=["SPY"], timeframe=TimeFrame.Day, start=datetime(2024, 11, 23), end=datetime(2024, 11, 24)
    )
    equal(stocks.get_stock_bars(request).data, {}, "bars of a weekend")


@check
def crypto_data():
    window = {"symbol_or_symbols": ["BTC/USD"], "start": MONDAY, "end": MONDAY + timedelta(seconds=30)}
    trades = crypto.get_crypto_trades(CryptoTradesRequest(**window)).data["BTC/USD"]
    true(len(trades) > 3 and all(row.price > 0 and row.size > 0 for row in trades), f"trades, {trades[:2]!r}")
    quotes = crypto.get_crypto_quotes(CryptoQuoteRequest(**window)).data["BTC/USD"]
    true(len(quotes) > 3 and all(0 < row.bid_price < row.ask_price for row in quotes), f"quotes, {quotes[:2]!r}")
    day = CryptoBarsRequest(
        symbol_or_symbols=["BTC/USD", "ETH/USD"], timeframe=TimeFrame.Day, start=MONDAY - timedelta(days=3), end=MONDAY
    )
    bars = crypto.get_crypto_bars(day).data
    equal(set(bars), {"BTC/USD", "ETH/USD"}, "symbols")
    true(len(bars["BTC/USD"]) in (3, 4), f"bars of a weekend, too, {bars['BTC/USD']!r}")
    names = {"symbol_or_symbols": ["BTC/USD", "ETH/USD"]}
    true(crypto.get_crypto_latest_trade(CryptoLatestTradeRequest(**names))["ETH/USD"].price > 0, "the latest trade")
    true(crypto.get_crypto_latest_quote(CryptoLatestQuoteRequest(**names))["ETH/USD"].ask_price > 0, "the latest quote")
    sane(crypto.get_crypto_latest_bar(CryptoLatestBarRequest(**names))["BTC/USD"], "BTC/USD")
    book = crypto.get_crypto_latest_orderbook(CryptoLatestOrderbookRequest(**names))["BTC/USD"]
    true(book.bids and book.asks and book.bids[0].price < book.asks[0].price, f"an order book, {book!r}")
    snapshot = crypto.get_crypto_snapshot(CryptoSnapshotRequest(**names))["BTC/USD"]
    sane(snapshot.daily_bar, "BTC/USD")
    true(snapshot.latest_trade.price > 0 and snapshot.latest_quote.bid_price > 0, f"a snapshot, {snapshot!r}")


@check
def option_data():
    start = OPEN
    bars = options.get_option_bars(
        OptionBarsRequest(symbol_or_symbols=CALL, timeframe=TimeFrame.Day, start=MONDAY - timedelta(days=5), end=OPEN)
    ).data[CALL]
    for row in bars:
        sane(row, CALL)
    window = {"symbol_or_symbols": CALL, "start": start, "end": start + timedelta(minutes=5)}
    trades = options.get_option_trades(OptionTradesRequest(**window)).data[CALL]
    true(trades and all(row.price > 0 and isinstance(row.conditions, str) for row in trades), f"trades, {trades[:2]!r}")
    quote = options.get_option_latest_quote(OptionLatestQuoteRequest(symbol_or_symbols=CALL))[CALL]
    true(0 < quote.bid_price < quote.ask_price and isinstance(quote.conditions, str), f"a quote, {quote!r}")
    true(
        options.get_option_latest_trade(OptionLatestTradeRequest(symbol_or_symbols=CALL))[CALL].price > 0,
        "the latest trade",
    )
    snapshot = options.get_option_snapshot(OptionSnapshotRequest(symbol_or_symbols=CALL))[CALL]
    true(snapshot.latest_trade.price > 0 and snapshot.latest_quote.ask_price > 0, f"a snapshot, {snapshot!r}")
    true(snapshot.implied_volatility and 0 <= snapshot.greeks.delta <= 1, f"its greeks, {snapshot!r}")


@check
def the_chain_of_an_underlying():
    chain = options.get_option_chain(OptionChainRequest(underlying_symbol="AAPL", expiration_date_lte="2024-12-20"))
    true(chain, "contracts")
    true(all(symbol.startswith("AAPL24") for symbol in chain), f"contracts of AAPL, {list(chain)[:3]}")


@check
def news_is_paged():
    # The SDK walks the pages of 50 by itself. Newest first unless asked otherwise.
    items = news.get_news(NewsRequest(start=MONDAY, end=MONDAY + timedelta(hours=12), limit=70)).data["news"]
    equal(len(items), 70, "number of items")
    equal(len({item.id for item in items}), 70, "different items")
    equal(items, sorted(items, key=lambda item: item.updated_at, reverse=True), "items, newest first")
    first = items[0]
    true(first.headline and first.source and first.author and first.symbols, f"an item, {first!r}")
    one = news.get_news(NewsRequest(symbols="AAPL", start=MONDAY, end=OPEN, limit=3)).data["news"]
    true(one and all("AAPL" in item.symbols for item in one), "items of AAPL")


@check
def corporate_actions_and_the_screener():
    actions = CorporateActionsClient(*KEYS, url_override=PAST_URL)
    found = actions.get_corporate_actions(
        CorporateActionsRequest(symbols=["AAPL"], start=date(2024, 11, 1), end=date(2024, 11, 30))
    )
    splits = found.data["forward_splits"]
    equal([(split.symbol, split.old_rate, split.new_rate) for split in splits], [("AAPL", 1, 4)], "splits")
    equal(splits[0].ex_date, date(2024, 11, 22), "day of the split")
    screener = ScreenerClient(*KEYS, url_override=PAST_URL)
    active = screener.get_most_actives(MostActivesRequest(top=3, by=MostActivesBy.VOLUME)).most_actives
    equal(len(active), 3, "most active")
    equal([row.volume for row in active], sorted((row.volume for row in active), reverse=True), "volumes, most first")


@check
def what_the_data_side_refuses():
    stranger = StockHistoricalDataClient("nobody", "nothing", url_override=PAST_URL)
    latest = StockLatestTradeRequest(symbol_or_symbols="SPY", feed=DataFeed.IEX)
    try:
        stranger.get_stock_latest_trade(latest)
    except Exception as error:
        equal(getattr(error, "status_code", None), 401, "status")
    else:
        true(False, "a refusal of wrong keys")
    # The free plan does not see the consolidated tape's last quarter of an hour.
    refused(
        lambda: stocks.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="SPY", feed=DataFeed.SIP)), 403
    )
    wrong = lambda: raw_stocks.get("/stocks/bars", {"symbols": "SPY", "timeframe": "7Parsecs"})  # noqa: E731
    refused(wrong, 400)
