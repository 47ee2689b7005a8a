"""Market data streams of every kind, begun together before the first check and read while the others run."""

import threading
from datetime import datetime, timezone

from alpaca.data.live import CryptoDataStream, NewsDataStream, OptionDataStream, StockDataStream
from alpaca.data.models import Bar, News, Orderbook, Quote, Trade

from harness import KEYS, PAST_WS_URL, WS_URL, Failed, admin, check, equal, eventually, true

CALL = "AAPL241220C00230000"


class Received:
    """A stream and what its handlers were given, by name of the channel."""

    def __init__(self, stream, **channels):
        self.stream = stream
        self.rows = {name: [] for name in channels}
        for name, symbols in channels.items():
            getattr(stream, f"subscribe_{name}")(self.handler(name), *symbols)
        stream._reconnect_min_backoff = 0.2  # a second otherwise, doubled each time
        self.thread = threading.Thread(target=stream.run, daemon=True)
        self.thread.start()

    def handler(self, name):
        async def keep(row):
            self.rows[name].append(row)

        return keep

    def wait(self, name, count=1, seconds=20):
        return eventually(
            f"{count} of {name}", lambda: len(self.rows[name]) >= count and list(self.rows[name]), seconds
        )

    def wait_for_more(self, name, seconds=20):
        before = len(self.rows[name])
        return self.wait(name, before + 1, seconds)[before:]


STREAMS = {}


def begin():
    past = lambda path: f"{PAST_WS_URL}{path}"  # noqa: E731
    STREAMS["iex"] = Received(
        StockDataStream(*KEYS, url_override=past("/v2/iex")),
        trades=["AAPL", "SPY"],
        quotes=["SPY"],
        bars=["*"],
        updated_bars=["SPY"],
        daily_bars=["SPY"],
    )
    STREAMS["now"] = Received(StockDataStream(*KEYS, url_override=f"{WS_URL}/v2/iex"), trades=["AAPL"], quotes=["AAPL"])
    STREAMS["test"] = Received(
        StockDataStream(*KEYS, url_override=past("/v2/test")),
        trades=["FAKEPACA"],
        quotes=["FAKEPACA"],
        bars=["FAKEPACA"],
    )
    STREAMS["crypto"] = Received(
        CryptoDataStream(*KEYS, url_override=past("/v1beta3/crypto/us")),
        trades=["BTC/USD"],
        quotes=["BTC/USD"],
        bars=["BTC/USD", "ETH/USD"],
        orderbooks=["BTC/USD"],
    )
    STREAMS["options"] = Received(
        OptionDataStream(*KEYS, url_override=past("/v1beta1/indicative")), trades=[CALL], quotes=[CALL]
    )
    STREAMS["news"] = Received(NewsDataStream(*KEYS, url_override=past("/v1beta1/news")), news=["*"])


def stop():
    for received in STREAMS.values():
        received.stream.stop()
    for received in STREAMS.values():
        received.thread.join(10)


def by_time(rows, what):
    equal([row.timestamp for row in rows], sorted(row.timestamp for row in rows), what)


def is_bar(bar, symbols):
    true(isinstance(bar, Bar) and bar.symbol in symbols, f"a bar of {symbols}, {bar!r}")
    true(bar.low <= min(bar.open, bar.close) and max(bar.open, bar.close) <= bar.high, f"a low below a high, {bar!r}")
    true(bar.volume > 0 and bar.low <= bar.vwap <= bar.high and bar.trade_count > 0, f"volume, vwap and count, {bar!r}")
    equal((bar.timestamp.second, bar.timestamp.microsecond), (0, 0), "the begin of a minute")


@check
def trades_of_stocks():
    rows = STREAMS["iex"].wait("trades", 10)
    true(all(isinstance(row, Trade) for row in rows), "Trades")
    equal({row.symbol for row in rows} - {"AAPL", "SPY"}, set(), "other symbols")
    by_time([row for row in rows if row.symbol == "SPY"], "times of SPY")
    row = rows[0]
    true(row.price > 0 and row.size > 0 and row.exchange and row.tape and isinstance(row.id, int), f"a trade, {row!r}")
    true(isinstance(row.conditions, list), f"a list of conditions, {row!r}")
    equal(row.timestamp.date(), datetime(2024, 11, 26).date(), "date")


@check
def quotes_of_stocks():
    for row in STREAMS["iex"].wait("quotes", 10):
        true(isinstance(row, Quote) and row.symbol == "SPY" and 0 < row.bid_price < row.ask_price, f"a quote, {row!r}")
        true(row.bid_size > 0 and row.ask_size > 0 and row.bid_exchange and row.ask_exchange, f"its fields, {row!r}")


@check
def bars_of_all_stocks():
    rows = STREAMS["iex"].wait("bars", 20)
    true({"AAPL", "SPY", "F"} <= {row.symbol for row in rows}, f"bars of all, { ({row.symbol for row in rows}) }")
    for row in rows:
        is_bar(row, {row.symbol})
    spy = [row for row in rows if row.symbol == "SPY"]
    equal(len({row.timestamp for row in spy}), len(spy), "one bar for each minute")


@check
def updated_and_daily_bars():
    is_bar(STREAMS["iex"].wait("updated_bars", seconds=60)[0], {"SPY"})
    daily = STREAMS["iex"].wait("daily_bars", 2)
    is_bar(daily[0], {"SPY"})
    equal(daily[0].timestamp, datetime(2024, 11, 26, 5, tzinfo=timezone.utc), "New York's midnight")
    true(daily[-1].volume >= daily[0].volume, "a day that grows")


@check
def the_present_is_streamed_at_its_own_pace():
    trade = STREAMS["now"].wait("trades")[-1]
    equal(trade.symbol, "AAPL", "symbol")
    late = abs((datetime.now(timezone.utc) - trade.timestamp).total_seconds())
    true(late < 60, f"a trade of this minute, {trade!r}")
    STREAMS["now"].wait("quotes", 2)


@check
def the_test_stream():
    test = STREAMS["test"]
    equal(test.wait("trades")[0].symbol, "FAKEPACA", "symbol of a trade")
    equal(test.wait("quotes")[0].symbol, "FAKEPACA", "symbol of a quote")
    is_bar(test.wait("bars")[0], {"FAKEPACA"})


@check
def crypto():
    coins = STREAMS["crypto"]
    trade = coins.wait("trades")[0]
    true(trade.symbol == "BTC/USD" and trade.price > 0 and trade.size > 0, f"a trade, {trade!r}")
    quote = coins.wait("quotes")[0]
    true(0 < quote.bid_price < quote.ask_price and quote.bid_size > 0, f"a quote, {quote!r}")
    for row in coins.wait("bars", 4):
        is_bar(row, {"BTC/USD", "ETH/USD"})
    books = coins.wait("orderbooks", 2)
    true(isinstance(books[0], Orderbook) and books[0].reset, f"the whole book at first, {books[0]!r}")
    true(books[0].bids[0].price < books[0].asks[0].price, f"bids below asks, {books[0]!r}")


@check
def options():
    rows = STREAMS["options"]
    trade = rows.wait("trades", seconds=40)[0]
    true(trade.symbol == CALL and trade.price > 0 and isinstance(trade.conditions, str), f"a trade, {trade!r}")
    quote = rows.wait("quotes")[0]
    true(quote.symbol == CALL and 0 < quote.bid_price < quote.ask_price, f"a quote, {quote!r}")


@check
def news():
    item = STREAMS["news"].wait("news", seconds=30)[0]
    true(isinstance(item, News) and item.headline and item.symbols and isinstance(item.id, int), f"news, {item!r}")
    equal(item.created_at.date(), datetime(2024, 11, 26).date(), "date")


@check
def symbols_come_and_go():
    stream = STREAMS["now"]
    added = []

    async def keep(row):
        added.append(row)

    stream.stream.subscribe_trades(keep, "MSFT")
    equal(eventually("trades of another symbol", lambda: list(added))[0].symbol, "MSFT", "symbol")
    stream.wait_for_more("trades")
    stream.stream.unsubscribe_trades("MSFT")
    # A trade may be under way still. Afterwards one of the other symbol's is as good as a clock.
    stream.wait_for_more("trades")
    before = len(added)
    for _ in range(3):
        stream.wait_for_more("trades")
    equal(len(added), before, "trades of a symbol no longer subscribed to")


@check
def wrong_keys():
    # The SDK tries again for ever, so one try is made as it makes it.
    import asyncio

    stranger = StockDataStream("nobody", "nothing", url_override=f"{WS_URL}/v2/test")

    async def once():
        await stranger._connect()
        try:
            await stranger._auth()
        finally:
            await stranger.close()

    try:
        asyncio.run(once())
    except ValueError as error:
        equal(str(error), "auth failed", "the error")
    else:
        raise Failed("a ValueError", "no error")


@check
def a_lost_stream_of_data_comes_back():
    stream = STREAMS["now"]
    stream.wait("trades")
    admin("faults", "stock_stream: drop")
    stream.wait_for_more("trades", seconds=30)
    stream.wait_for_more("quotes", seconds=30)
