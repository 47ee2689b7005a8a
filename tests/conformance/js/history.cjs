"use strict";
// Historical data, from the simulator that lives in a known past: rows, pages, adjustment, latest, snapshots.

const h = require("./harness.cjs");
const { past, check, equal, between, holds, refused, errors, client, URLS } = h;
const data = past.marketData;

const OPEN = new Date("2024-11-25T14:30:00Z");
const MONDAY = new Date("2024-11-25T00:00:00Z");
const CALL = "AAPL241220C00230000";
const after = (date, seconds) => new Date(date.getTime() + seconds * 1000);
const MINUTE = "1Min";
const DAY = "1Day";

function sane(bar) {
  holds(bar.low <= Math.min(bar.open, bar.close) && Math.max(bar.open, bar.close) <= bar.high, "a low below a high", bar);
  holds(bar.volume > 0 && bar.low <= bar.vwap && bar.vwap <= bar.high && bar.tradeCount > 0, "volume, vwap and count", bar);
}

check("minute bars of stocks", async () => {
  const request = { symbols: ["AAPL", "SPY"], timeframe: MINUTE, start: OPEN, end: after(OPEN, 540) };
  const bars = await data.getStockBars(request);
  equal(Object.keys(bars).sort(), ["AAPL", "SPY"], "symbols");
  for (const rows of Object.values(bars)) {
    equal(rows.map((row) => row.timestamp.toISOString()), [...Array(10).keys()].map((n) => after(OPEN, 60 * n).toISOString()), "minutes");
    rows.forEach(sane);
  }
});

check("bars are paged", async () => {
  const request = { symbols: ["AAPL", "SPY"], timeframe: MINUTE, start: OPEN, end: after(OPEN, 1740) };
  const whole = await data.getStockBars(request);
  const paged = await data.getStockBars({ ...request, limit: 7 });
  equal(paged, whole, "pages together");
  equal(paged.SPY.length, 30, "bars of SPY");
  const newest = await data.stocks.stockBarSingle({ symbol: "SPY", timeframe: MINUTE, start: OPEN, end: after(OPEN, 1740), sort: "desc", limit: 2 });
  equal(newest.bars[0].t.toISOString?.() ?? newest.bars[0].t, after(OPEN, 1740).toISOString(), "the newest first");
  holds(newest.nextPageToken, "a token", newest.nextPageToken);
});

check("bars are adjusted for a split", async () => {
  const closes = async (adjustment) =>
    (await data.getStockBarsFor("AAPL", { timeframe: DAY, start: after(MONDAY, -5 * 86400), end: OPEN, adjustment })).map((bar) => bar.close);
  const raw = await closes("raw");
  const split = await closes("split");
  equal(raw.map((close, i) => Math.round(close / split[i])), [4, 4, 1, 1], "prices divided");
});

check("trades and quotes of stocks", async () => {
  const window = { start: OPEN, end: after(OPEN, 30) };
  const trades = await data.getStockTradesFor("SPY", window);
  holds(trades.length > 5, "some trades", trades.length);
  for (const row of trades) holds(row.price > 0 && row.size > 0 && row.exchange && row.tape, "a trade", row);
  const quotes = await data.getStockQuotesFor("SPY", window);
  holds(quotes.length > 5, "some quotes", quotes.length);
  for (const row of quotes) holds(row.bidPrice < row.askPrice && row.bidSize > 0, "a quote", row);
});

check("latest and snapshots of stocks", async () => {
  holds((await data.getLatestPrice("SPY")) > 0, "a latest price");
  const quote = (await data.stocks.stockLatestQuoteSingle({ symbol: "SPY" })).quote;
  holds(quote.bp < quote.ap, "a latest quote", quote);
  holds((await data.stocks.stockLatestBars({ symbols: "AAPL,SPY" })).bars.AAPL.c > 0, "latest bars");
  const snapshots = await data.stocks.stockSnapshots({ symbols: "AAPL,SPY" });
  equal(Object.keys(snapshots).sort(), ["AAPL", "SPY"], "symbols");
  for (const part of ["latestTrade", "latestQuote", "minuteBar", "dailyBar", "prevDailyBar"]) {
    holds(snapshots.SPY[part], part, snapshots.SPY);
  }
  equal((await data.stocks.stockSnapshotSingle({ symbol: "SPY" })).symbol, "SPY", "symbol of a single snapshot");
});

check("auctions and exchanges", async () => {
  const days = await data.getStockAuctions({ symbols: "SPY", start: MONDAY, end: OPEN });
  holds(days.SPY?.length > 0, "auctions", days);
  holds(Object.keys(await data.stocks.stockMetaExchanges()).length > 0, "exchanges");
});

check("crypto data", async () => {
  const window = { loc: "us", start: MONDAY, end: after(MONDAY, 30) };
  const trades = (await data.getCryptoTrades({ symbols: ["BTC/USD"], ...window }))["BTC/USD"];
  holds(trades.length > 3 && trades[0].price > 0 && ["B", "S"].includes(trades[0].takerSide), "trades", trades.slice(0, 2));
  const quotes = (await data.getCryptoQuotes({ symbols: ["BTC/USD"], ...window }))["BTC/USD"];
  holds(quotes.length > 3 && quotes[0].bidPrice < quotes[0].askPrice, "quotes", quotes.slice(0, 2));
  const bars = (await data.getCryptoBars({ loc: "us", symbols: ["BTC/USD"], timeframe: MINUTE, start: MONDAY, end: after(MONDAY, 540), limit: 4 }))["BTC/USD"];
  equal(bars.length, 10, "bars over pages");
  bars.forEach(sane);
  const one = { loc: "us", symbols: "BTC/USD" };
  holds((await data.crypto.cryptoLatestTrades(one)).trades["BTC/USD"].p > 0, "a latest trade");
  const book = (await data.crypto.cryptoLatestOrderbooks(one)).orderbooks["BTC/USD"];
  holds(book.b[0].p < book.a[0].p, "an order book", book);
  holds((await data.crypto.cryptoSnapshots(one)).snapshots["BTC/USD"].dailyBar, "a snapshot");
});

check("option data", async () => {
  const bars = (await data.getOptionBars({ symbols: [CALL], timeframe: DAY, start: after(MONDAY, -5 * 86400), end: OPEN }))[CALL];
  holds(bars.length > 0, "bars", bars);
  bars.forEach(sane);
  const quote = (await data.options.optionLatestQuotes({ symbols: CALL })).quotes[CALL];
  holds(quote.bp < quote.ap && typeof quote.c === "string", "a latest quote", quote);
  const trades = (await data.options.optionTrades({ symbols: CALL, start: OPEN, end: after(OPEN, 300) })).trades[CALL];
  holds(trades.length > 0 && trades[0].p > 0, "trades", trades);
  const snapshot = (await data.options.optionSnapshots({ symbols: CALL })).snapshots[CALL];
  holds(snapshot.latestQuote && snapshot.impliedVolatility > 0, "a snapshot", snapshot);
  between(snapshot.greeks.delta, 0, 1, "delta");
  const chain = await data.options.optionChain({ underlyingSymbol: "AAPL", limit: 4 });
  equal(Object.keys(chain.snapshots).length, 4, "contracts of a page of the chain");
  holds(chain.nextPageToken, "a token", chain.nextPageToken);
});

check("news is paged", async () => {
  const items = await data.collectNews({ start: MONDAY, end: OPEN, limit: 50 });
  holds(items.length > 100, "more items than fit on a page", items.length);
  equal(new Set(items.map((item) => item.id)).size, items.length, "different items");
  const moments = items.map((item) => item.updatedAt.getTime());
  equal(moments, [...moments].sort((a, b) => b - a), "the newest first");
  holds(items[0].headline && items[0].author && items[0].symbols.length > 0, "an item", items[0]);
});

check("what the data side refuses", async () => {
  const stranger = client(URLS.past, { keyId: "nobody", secret: "nothing" });
  const call = () => stranger.marketData.stocks.stockLatestTradeSingle({ symbol: "SPY" });
  await refused(call, errors.AuthError, 401, undefined);
  const sip = () => data.stocks.stockLatestTradeSingle({ symbol: "SPY", feed: "sip" });
  let error;
  await sip().catch((thrown) => (error = thrown));
  holds(error instanceof errors.PermissionError && error.status === 403, "a PermissionError", error?.message);
});
