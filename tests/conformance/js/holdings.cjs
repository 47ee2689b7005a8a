"use strict";
// The account and what belongs to it: positions and how they are closed, configurations, history, calendar, assets.

const h = require("./harness.cjs");
const { alpaca, check, equal, number, between, holds, flat, limit, atMarket, reaches, working, bought, refused, errors } = h;
const { positions, account, accountActivities, accountConfigurations, portfolioHistory, assets } = alpaca.trading;
const position = (symbolOrAssetId) => positions.getOpenPosition({ symbolOrAssetId });

check("the account", async () => {
  await flat();
  const before = await account.getAccount();
  equal([before.status, before.currency, before.tradingBlocked], ["ACTIVE", "USD", false], "account");
  number(before.equity, before.cash, "equity without positions");
  await bought({ qty: 10 });
  const after = await account.getAccount();
  between(before.cash - after.cash, 2290, 2310, "cash spent");
  between(after.longMarketValue, 2290, 2310, "long market value");
  const connection = await alpaca.trading.validateConnection();
  equal([connection.ok, connection.account?.id], [true, before.id], "connection");
});

check("positions", async () => {
  await flat();
  await bought({ qty: 4 });
  await h.pin("AAPL", 240);
  const held = await position("AAPL");
  equal([held.symbol, held.side, held.exchange, held.assetClass, held.qty], ["AAPL", "long", "NASDAQ", "us_equity", "4"], "position");
  between(held.currentPrice, 239, 241, "current price");
  between(held.unrealizedPl, 32, 48, "unrealized profit");
  await working(await limit({ side: "sell", qty: 3, limitPrice: 260 }));
  number((await position("AAPL")).qtyAvailable, 1, "qty available");
  equal((await positions.getAllOpenPositions()).length, 1, "number of positions");
});

check("a position is closed, in parts and whole", async () => {
  await flat();
  await bought({ qty: 8 });
  const close = (more) => positions.deleteOpenPosition({ symbolOrAssetId: "AAPL", ...more });
  number((await reaches(await close({ qty: 2 }), "filled")).filledQty, 2, "filled qty");
  number((await reaches(await close({ percentage: 50 }), "filled")).filledQty, 3, "filled qty");
  number((await reaches(await close(), "filled")).filledQty, 3, "filled qty");
  await refused(() => position("AAPL"), errors.NotFoundError, 404, 40410000, "position does not exist");
});

check("all positions are closed and orders canceled", async () => {
  await flat();
  await bought({ qty: 2 });
  await bought({ symbol: "BTC/USD", qty: 0.01, timeInForce: "gtc" });
  const resting = await working(await limit({ side: "sell", qty: 2, limitPrice: 260 }));
  const answers = await positions.deleteAllOpenPositions({ cancelOrders: true });
  equal(answers.map((answer) => answer.status), [200, 200], "statuses");
  equal(answers.map((answer) => answer.symbol.replace("/", "")).sort(), ["AAPL", "BTCUSD"], "symbols");
  for (const answer of answers) await reaches(answer.body, "filled");
  await reaches(resting, "canceled");
});

check("a short position", async () => {
  await flat();
  await reaches(await atMarket({ side: "sell", qty: 2 }), "filled");
  equal([(await position("AAPL")).qty, (await position("AAPL")).side], ["-2", "short"], "qty and side");
});

check("account configurations", async () => {
  await flat();
  const before = await accountConfigurations.getAccountConfig();
  equal([before.noShorting, before.fractionalTrading, before.suspendTrade], [false, true, false], "configurations");
  const change = (accountConfigurationsChange) =>
    accountConfigurations.patchAccountConfig({ accountConfigurations: accountConfigurationsChange });
  equal((await change({ noShorting: true })).noShorting, true, "no shorting");
  equal((await accountConfigurations.getAccountConfig()).noShorting, true, "no shorting, asked again");
  equal(await change({ noShorting: false }), before, "the configurations restored");
});

check("portfolio history", async () => {
  const month = await portfolioHistory.getAccountPortfolioHistory();
  equal([month.timeframe, month.equity.length], ["1D", month.timestamp.length], "timeframe and number of equities");
  const day = await portfolioHistory.getAccountPortfolioHistory({ period: "1D", timeframe: "5Min" });
  equal(day.timeframe, "5Min", "timeframe");
});

check("activities are paged", async () => {
  await flat();
  const sent = [];
  for (const qty of [1, 2, 3]) sent.push(await bought({ qty }));
  // The SDK takes every row for one that is no trade and drops the order's id: what it leaves is compared, and its raw answer.
  const request = { activityType: "FILL", pageSize: 2 };
  const page = await accountActivities.getAccountActivitiesByActivityType(request);
  equal(page.map((row) => [row.symbol, Number(row.qty)]), [["AAPL", 3], ["AAPL", 2]], "rows of the page");
  holds(/^\d{17}::[0-9a-f-]{36}$/.test(page[0].id), "an id of 17 digits and a uuid", page[0].id);
  const { raw } = await accountActivities.getAccountActivitiesByActivityTypeRaw(request);
  const row = (await raw.clone().json())[0];
  const wanted = { type: "fill", side: "buy", order_id: sent[2].id, cum_qty: "3", leaves_qty: "0", order_status: "filled" };
  equal(Object.fromEntries(Object.keys(wanted).map((key) => [key, row[key]])), wanted, "row");
  const quantities = [];
  for await (const each of alpaca.trading.iterateActivities({ activityTypes: ["FILL"], pageSize: 2 })) {
    quantities.push(Number(each.qty));
    if (quantities.length === 3) break;
  }
  equal(quantities, [3, 2, 1], "quantities over pages");
});

check("the clock and the calendar", async () => {
  await h.market("open");
  const clock = await alpaca.trading.clock.legacyClock();
  holds(clock.isOpen === true && clock.nextClose > clock.timestamp, "an open market", clock);
  const week = { start: new Date("2024-11-25"), end: new Date("2024-11-30") };
  const days = await alpaca.trading.calendar.legacyCalendar(week);
  equal(days.map((day) => [day.open, day.close]).at(-1), ["09:30", "13:00"], "hours of the short day");
  equal(days.map((day) => day.date.getUTCDate()), [25, 26, 27, 29], "trading days of Thanksgiving week");
});

check("assets", async () => {
  const one = (symbolOrAssetId) => assets.getV2AssetsSymbolOrAssetId({ symbolOrAssetId });
  const apple = await one("AAPL");
  equal([apple.symbol, apple.exchange, apple.tradable, apple.fractionable], ["AAPL", "NASDAQ", true, true], "asset");
  equal((await one(apple.id)).symbol, "AAPL", "the asset by id");
  equal((await one("BTC/USD")).symbol, "BTC/USD", "a coin, its slash escaped");
  const coins = await assets.getV2Assets({ assetClass: "crypto", status: "active" });
  holds(coins.some((coin) => coin.symbol === "ETH/USD"), "coins", coins);
  await refused(() => one("NOPE"), errors.NotFoundError, 404, 40410000, "asset not found for NOPE");
});

check("option contracts are paged", async () => {
  const first = await assets.getOptionsContracts({ underlyingSymbols: "AAPL", type: "call", limit: 5 });
  equal(first.optionContracts.length, 5, "contracts of a page");
  holds(first.nextPageToken, "a token", first.nextPageToken);
  const seen = [];
  for await (const each of alpaca.trading.iterateOptionsContracts({ underlyingSymbols: "AAPL", type: "call", limit: 3 })) {
    seen.push(each.symbol);
    if (seen.length === 8) break;
  }
  equal(new Set(seen).size, 8, "different contracts over pages");
  const contract = first.optionContracts[0];
  equal([contract.underlyingSymbol, contract.type, contract.size], ["AAPL", "call", "100"], "contract");
  equal((await assets.getOptionContractSymbolOrId({ symbolOrId: contract.symbol })).id, contract.id, "the contract by symbol");
});
