"use strict";
// Market data streams of every kind, begun before the first check and read while the others run.

const h = require("./harness.cjs");
const { alpaca, past, check, equal, holds, eventually, admin, WS_URLS } = h;
const { streaming } = require("@alpacahq/alpaca-trade-api");

const CALL = "AAPL241220C00230000";
const streams = {};

/** Opens a stream, keeps its rows by kind, and subscribes whenever it is connected for the first time. */
function open(name, stream, kinds, subscribe) {
  const rows = {};
  for (const kind of kinds) {
    rows[kind] = [];
    stream[`on${kind}`]((row) => rows[kind].push(row));
  }
  const opened = { stream, rows, errors: [], reconnected: 0 };
  stream.onError((error) => opened.errors.push(error));
  stream.onReconnected(() => opened.reconnected++);
  subscribe(stream);
  stream.connect();
  streams[name] = opened;
}

const wait = (name, kind, count = 1, seconds = 20) =>
  eventually(`${count} of ${kind}`, () => streams[name].rows[kind].length >= count && [...streams[name].rows[kind]], seconds);

async function more(name, kind, count = 1) {
  const before = streams[name].rows[kind].length;
  return (await wait(name, kind, before + count)).slice(before);
}

function begin() {
  const url = (path) => ({ url: `${WS_URLS.past}${path}` });
  open("stocks", past.marketData.stockStream(url("/v2/iex")), ["Trade", "Quote", "Bar", "UpdatedBar", "DailyBar"], (s) => {
    s.subscribeForTrades(["AAPL", "SPY"]);
    s.subscribeForQuotes(["SPY"]);
    s.subscribeForBars(["*"]);
    s.subscribeForUpdatedBars(["SPY"]);
    s.subscribeForDailyBars(["SPY"]);
  });
  const patience = { initialReconnectMs: 50, maxReconnectMs: 200 };
  open("now", alpaca.marketData.stockStream({ url: `${WS_URLS.now}/v2/iex`, ...patience }), ["Trade", "Quote"], (s) => {
    s.subscribeForTrades(["AAPL"]);
    s.subscribeForQuotes(["AAPL"]);
  });
  open("test", past.marketData.stockStream(url("/v2/test")), ["Trade", "Quote", "Bar"], (s) => {
    s.subscribeForTrades(["FAKEPACA"]);
    s.subscribeForQuotes(["FAKEPACA"]);
    s.subscribeForBars(["FAKEPACA"]);
  });
  open("crypto", past.marketData.cryptoStream(url("/v1beta3/crypto/us")), ["Trade", "Quote", "Bar", "Orderbook"], (s) => {
    s.subscribeForTrades(["BTC/USD"]);
    s.subscribeForQuotes(["BTC/USD"]);
    s.subscribeForBars(["BTC/USD", "ETH/USD"]);
    s.subscribeForOrderbooks(["BTC/USD"]);
  });
  open("options", past.marketData.optionStream(url("/v1beta1/indicative")), ["Trade", "Quote"], (s) => {
    s.subscribeForTrades([CALL]);
    s.subscribeForQuotes([CALL]);
  });
  open("news", past.marketData.newsStream(url("/v1beta1/news")), ["News"], (s) => s.subscribeForNews(["*"]));
}

function isBar(bar, symbols) {
  holds(symbols.includes(bar.symbol), `a bar of ${symbols}`, bar);
  holds(bar.low <= Math.min(bar.open, bar.close) && Math.max(bar.open, bar.close) <= bar.high, "a low below a high", bar);
  holds(bar.volume > 0 && bar.low <= bar.vwap && bar.vwap <= bar.high && bar.tradeCount > 0, "volume, vwap and count", bar);
}

check("trades of stocks", async () => {
  const rows = await wait("stocks", "Trade", 10);
  for (const row of rows) {
    holds(["AAPL", "SPY"].includes(row.symbol) && row.price > 0 && row.size > 0, "a trade", row);
    holds(Number.isInteger(row.id) && row.exchange && row.tape && Array.isArray(row.conditions), "its fields", row);
  }
  equal(rows[0].timestamp.toISOString().slice(0, 10), "2024-11-26", "date");
  holds(/^2024-11-26T\d\d:\d\d:\d\d/.test(rows[0].timestampRaw), "the moment as text", rows[0].timestampRaw);
});

check("quotes of stocks", async () => {
  for (const row of await wait("stocks", "Quote", 10)) {
    holds(row.symbol === "SPY" && row.bidPrice < row.askPrice && row.bidSize > 0 && row.bidExchange, "a quote", row);
  }
});

check("bars of all stocks", async () => {
  const rows = await wait("stocks", "Bar", 20);
  const symbols = rows.map((row) => row.symbol);
  holds(["AAPL", "SPY", "F"].every((symbol) => symbols.includes(symbol)), "bars of all", symbols);
  for (const row of rows) isBar(row, [row.symbol]);
});

check("updated and daily bars", async () => {
  isBar((await wait("stocks", "UpdatedBar", 1, 40))[0], ["SPY"]);
  const daily = await wait("stocks", "DailyBar", 2);
  equal(daily[0].timestamp.toISOString(), "2024-11-26T05:00:00.000Z", "New York's midnight");
  holds(daily.at(-1).volume >= daily[0].volume, "a day that grows", daily);
});

check("the present is streamed at its own pace", async () => {
  const trade = (await wait("now", "Trade")).at(-1);
  holds(Math.abs(Date.now() - trade.timestamp) < 60_000, "a trade of this minute", trade);
});

check("the test stream", async () => {
  for (const kind of ["Trade", "Quote", "Bar"]) equal((await wait("test", kind))[0].symbol, "FAKEPACA", `symbol of a ${kind}`);
});

check("crypto", async () => {
  const trade = (await wait("crypto", "Trade"))[0];
  holds(trade.symbol === "BTC/USD" && trade.price > 0 && ["B", "S"].includes(trade.takerSide), "a trade", trade);
  const quote = (await wait("crypto", "Quote"))[0];
  holds(quote.bidPrice < quote.askPrice, "a quote", quote);
  for (const row of await wait("crypto", "Bar", 4)) isBar(row, ["BTC/USD", "ETH/USD"]);
  const book = (await wait("crypto", "Orderbook", 2))[0];
  holds(book.reset === true && book.bids[0].price < book.asks[0].price, "the whole book at first", book);
});

check("options", async () => {
  const trade = (await wait("options", "Trade", 1, 40))[0];
  holds(trade.symbol === CALL && trade.price > 0, "a trade", trade);
  const quote = (await wait("options", "Quote"))[0];
  holds(quote.symbol === CALL && quote.bidPrice < quote.askPrice, "a quote", quote);
});

check("news", async () => {
  const item = (await wait("news", "News", 1, 30))[0];
  holds(item.headline && item.symbols.length > 0, "an item", item);
});

check("no stream has reported an error", async () => {
  for (const [name, { errors }] of Object.entries(streams)) equal(errors, [], `errors of ${name}`);
});

check("symbols come and go", async () => {
  const { stream, rows } = streams.now;
  const of = (symbol) => rows.Trade.filter((row) => row.symbol === symbol).length;
  stream.subscribeForTrades(["MSFT"]);
  await eventually("trades of another symbol", () => of("MSFT") > 0);
  stream.unsubscribeFromTrades(["MSFT"]);
  const apples = of("AAPL");
  await eventually("trades of the first symbol", () => of("AAPL") > apples + 1);
  const before = of("MSFT");
  await eventually("more trades of the first symbol", () => of("AAPL") > apples + 4);
  equal(of("MSFT"), before, "trades of a symbol no longer subscribed to");
});

check("wrong keys are refused on a data stream", async () => {
  const url = `${WS_URLS.now}/v2/test`;
  const stranger = new streaming.StockDataStream({ url, credentials: { keyId: "nobody", secret: "nothing" } });
  stranger.onError(() => {});
  stranger.connect();
  const result = await stranger.waitForAuthenticationResult(10_000);
  equal([result.authenticated, result.code], [false, 402], "authenticated, and the code");
  stranger.disconnect();
});

check("too many symbols are refused and the others kept", async () => {
  const { stream, errors } = streams.now;
  const symbols = [...Array(31).keys()].map((n) => `SYM${String.fromCharCode(65 + (n % 26), 65 + Math.floor(n / 26))}`);
  stream.subscribeForQuotes(symbols);
  await eventually("an error", () => errors.some((error) => String(error).includes("symbol limit exceeded")));
  // The SDK would ask for them again when it reconnects, and be refused everything.
  stream.unsubscribeFromQuotes(symbols);
  await more("now", "Trade");
});

check("a lost stream of data comes back", async () => {
  const before = streams.now.reconnected;
  await admin("faults", "stock_stream: drop");
  await eventually("a second connection", () => streams.now.reconnected > before);
  await more("now", "Trade");
});

module.exports = { begin };
