"use strict";
// Orders of all types and classes: looking them up, listing, replacing, canceling.

const h = require("./harness.cjs");
const { alpaca, check, equal, number, between, holds, flat, limit, atMarket, reaches, working, bought, share, pin } = h;
const { orders } = alpaca.trading;
const byId = (id, more) => orders.getOrderByOrderID({ orderId: id, ...more });
const ids = (list) => list.map((order) => order.id);

check("a market order fills", async () => {
  await flat();
  const sent = await atMarket({ qty: 3 });
  equal([sent.symbol, sent.type, sent.side, sent.timeInForce, sent.assetClass], ["AAPL", "market", "buy", "day", "us_equity"], "order");
  equal([sent.qty, sent.filledQty], ["3", "0"], "decimals as strings");
  holds(sent.limitPrice == null && sent.notional == null && sent.legs == null, "nulls", sent);
  holds(sent.submittedAt instanceof Date && !isNaN(sent.submittedAt), "a date of the submission", sent.submittedAt);
  const done = await reaches(sent, "filled");
  number(done.filledQty, 3, "filled qty");
  between(done.filledAvgPrice, 229, 231, "filled avg price");
  holds(done.filledAt >= done.submittedAt, "a fill after the submission", done);
});

check("a limit order waits for its price", async () => {
  await flat();
  const sent = await working(await limit({ limitPrice: 225.5, qty: 2, timeInForce: "gtc" }));
  number(sent.limitPrice, 225.5, "limit price");
  await pin("AAPL", 225);
  between((await reaches(sent, "filled")).filledAvgPrice, 220, 225.5, "filled avg price");
});

check("a stop order is triggered", async () => {
  await flat();
  const sent = await working(await orders.stop(share({ stopPrice: 235 })));
  equal([sent.type, sent.stopPrice], ["stop", "235"], "type and stop price");
  await pin("AAPL", 236);
  await reaches(sent, "filled");
});

check("a stop limit order is triggered", async () => {
  await flat();
  const sent = await working(await orders.stopLimit(share({ stopPrice: 235, limitPrice: 237 })));
  equal([sent.type, sent.stopPrice, sent.limitPrice], ["stop_limit", "235", "237"], "type and prices");
  await pin("AAPL", 236);
  between((await reaches(sent, "filled")).filledAvgPrice, 235, 237, "filled avg price");
});

check("a trailing stop follows the price", async () => {
  await flat();
  await bought();
  const sent = await working(await orders.trailingStop(share({ side: "sell", trailPercent: 5, timeInForce: "gtc" })));
  equal([sent.type, sent.trailPercent], ["trailing_stop", "5"], "type and percent");
  between(sent.hwm, 229, 231, "high water mark");
  await pin("AAPL", 250);
  await h.eventually("a higher mark", async () => Number((await byId(sent.id)).hwm) > 248);
  await pin("AAPL", 235);
  await reaches(sent, "filled");
  const byPrice = await working(await orders.trailingStop(share({ trailPrice: "4.5" })));
  equal(byPrice.trailPrice, "4.5", "trail price");
});

check("notional and fractional orders fill", async () => {
  await flat();
  const sent = await atMarket({ qty: undefined, notional: 115 });
  equal([sent.notional, sent.qty ?? null], ["115", null], "notional and qty");
  await reaches(sent, "filled");
  number((await bought({ qty: "0.25" })).filledQty, 0.25, "filled qty");
});

check("crypto orders", async () => {
  await flat();
  const done = await bought({ symbol: "BTC/USD", qty: 0.01, timeInForce: "gtc" });
  equal([done.symbol, done.assetClass], ["BTC/USD", "crypto"], "symbol and class");
  const held = await alpaca.trading.positions.getOpenPosition({ symbolOrAssetId: "BTC/USD" });
  between(held.qty, 0.0099, 0.01, "qty of the position, less the fee");
  await working(await limit({ symbol: "ETH/USD", qty: 0.1, limitPrice: 3000, timeInForce: "gtc" }));
});

check("extended hours and auctions", async () => {
  await flat();
  await h.market("closed");
  equal((await limit({ extendedHours: true })).extendedHours, true, "extended hours");
  for (const timeInForce of ["opg", "cls"]) {
    const sent = await limit({ timeInForce });
    equal([sent.timeInForce, sent.status], [timeInForce, "accepted"], "time in force and status");
  }
});

check("immediate or cancel and fill or kill", async () => {
  await flat();
  for (const timeInForce of ["ioc", "fok"]) {
    number((await reaches(await limit({ timeInForce }), "canceled", "expired")).filledQty, 0, "filled qty");
    await reaches(await limit({ timeInForce, limitPrice: 240 }), "filled");
  }
});

const groups = { takeProfit: { limitPrice: 250 }, stopLoss: { stopPrice: 210 } };

check("a bracket holds its children until the entry fills", async () => {
  await flat();
  const sent = await orders.bracket(share({ qty: 2, limitPrice: 220, ...groups }));
  equal([sent.orderClass, sent.legs.length], ["bracket", 2], "class and number of legs");
  const [profit, loss] = [...sent.legs].sort((a) => (a.type === "limit" ? -1 : 1));
  equal([profit.status, loss.status], ["held", "held"], "statuses of the children");
  await working(sent);
  await pin("AAPL", 219);
  await reaches(sent, "filled");
  await working(profit);
  await pin("AAPL", 251);
  await reaches(profit, "filled");
  await reaches(loss, "canceled");
});

check("canceling a bracket cancels the group", async () => {
  await flat();
  const sent = await orders.bracket(share({ limitPrice: 220, ...groups }));
  await working(sent);
  const nested = await orders.getAllOrders({ nested: true, limit: 1 });
  equal([nested[0].id, nested[0].legs.length], [sent.id, 2], "the order with its legs");
  await orders.deleteOrderByOrderID({ orderId: sent.id });
  for (const order of [sent, ...sent.legs]) await reaches(order, "canceled");
});

check("one cancels the other", async () => {
  await flat();
  await bought({ qty: 2 });
  const sent = await orders.oco(share({ qty: 2, side: "sell", timeInForce: "gtc", ...groups }));
  equal([sent.orderClass, sent.type, sent.legs.length], ["oco", "limit", 1], "class, type and number of legs");
  await working(sent);
  await pin("AAPL", 209);
  await reaches(sent.legs[0], "filled");
  await reaches(sent, "canceled");
});

check("one triggers the other", async () => {
  await flat();
  const sent = await orders.oto(share({ limitPrice: 225, stopLoss: { stopPrice: 200 } }));
  equal([sent.orderClass, sent.legs[0].status], ["oto", "held"], "class and status of the child");
  await working(sent);
  await pin("AAPL", 224);
  await reaches(sent, "filled");
  await pin("AAPL", 199);
  await reaches(sent.legs[0], "filled");
});

/** An AAPL call that expires on a Friday six weeks from now. */
function call(strike) {
  const day = new Date(Date.now() + 42 * 86_400_000);
  day.setUTCDate(day.getUTCDate() + ((5 - day.getUTCDay() + 7) % 7));
  return `AAPL${day.toISOString().slice(2, 10).replaceAll("-", "")}C${String(strike * 1000).padStart(8, "0")}`;
}

check("an option is bought and closed", async () => {
  await flat();
  const done = await bought({ symbol: call(230), positionIntent: "buy_to_open" });
  equal([done.assetClass, done.positionIntent], ["us_option", "buy_to_open"], "class and intent");
  const closing = await alpaca.trading.positions.deleteOpenPosition({ symbolOrAssetId: call(230) });
  equal(closing.side, "sell", "side");
  await reaches(closing, "filled");
});

const spread = (more) =>
  orders.submit({
    orderClass: "mleg",
    qty: 1,
    timeInForce: "day",
    clientOrderId: h.clientOrderId(),
    legs: [
      { symbol: call(230), ratioQty: "1", side: "buy", positionIntent: "buy_to_open" },
      { symbol: call(240), ratioQty: "1", side: "sell", positionIntent: "sell_to_open" },
    ],
    ...more,
  });

check("a spread of options fills as one", async () => {
  await flat();
  const sent = await spread({ type: "market" });
  equal([sent.orderClass, sent.legs.map((leg) => leg.symbol)], ["mleg", [call(230), call(240)]], "class and legs");
  await reaches(sent, "filled");
  number((await alpaca.trading.positions.getOpenPosition({ symbolOrAssetId: call(240) })).qty, -1, "qty of the short leg");
});

check("a spread with a limit rests and is canceled", async () => {
  await flat();
  const sent = await working(await spread({ type: "limit", limitPrice: "0.1" }));
  await orders.deleteOrderByOrderID({ orderId: sent.id });
  await reaches(sent, "canceled");
});

check("an order is found by id and client id", async () => {
  await flat();
  const sent = await working(await limit());
  equal((await orders.getOrderByClientOrderId({ clientOrderId: sent.clientOrderId })).id, sent.id, "id");
  equal((await byId(sent.id)).clientOrderId, sent.clientOrderId, "client order id");
});

check("a cancel ends an order, and cancel all ends all", async () => {
  await flat();
  const sent = await working(await limit());
  await orders.deleteOrderByOrderID({ orderId: sent.id });
  holds((await reaches(sent, "canceled")).canceledAt, "a date of the cancel", sent);
  const both = [await working(await limit()), await working(await limit())];
  const answers = await orders.deleteAllOrders();
  equal(ids(answers).sort(), ids(both).sort(), "ids");
  equal(answers.map((answer) => answer.status), [200, 200], "statuses");
  for (const order of both) await reaches(order, "canceled");
});

check("a replace makes a new order", async () => {
  await flat();
  const old = await working(await limit({ qty: 2, timeInForce: "gtc" }));
  const wanted = h.clientOrderId();
  const patchOrderRequest = { qty: "3", limitPrice: "201.25", clientOrderId: wanted };
  const fresh = await orders.patchOrderByOrderId({ orderId: old.id, patchOrderRequest });
  equal([fresh.replaces, fresh.qty, fresh.limitPrice, fresh.clientOrderId], [old.id, "3", "201.25", wanted], "the new order");
  const gone = await reaches(old, "replaced");
  equal(gone.replacedBy, fresh.id, "replaced by");
});

check("orders are listed, filtered and paged", async () => {
  await flat();
  const a = await working(await limit());
  const b = await working(await limit({ symbol: "SPY", limitPrice: 550 }));
  const c = await bought({ symbol: "F", qty: 5 });
  const d = await working(await limit({ symbol: "F", qty: 5, side: "sell", limitPrice: 13 }));
  const listed = async (what, filter, ...expected) => equal(ids(await orders.getAllOrders(filter)), ids(expected), what);
  await listed("open orders, newest first", {}, d, b, a);
  await listed("oldest first", { direction: "asc" }, a, b, d);
  await listed("by symbols", { symbols: ["AAPL", "SPY"] }, b, a);
  await listed("by side", { side: "sell" }, d);
  await listed("all", { status: "all", limit: 4 }, d, c, b, a);
  // Moments are the venue's own text: a Date has milliseconds only.
  const raw = await orders.getAllOrdersRaw({ status: "all", limit: 4, direction: "desc" });
  const times = Object.fromEntries((await raw.raw.clone().json()).map((order) => [order.id, order.submitted_at]));
  await listed("after a moment", { status: "all", direction: "asc", limit: 2, after: times[a.id] }, b, c);
  await listed("until a moment", { status: "all", limit: 2, until: times[c.id] }, b, a);
  await listed("by class", { status: "all", assetClass: ["us_equity"], limit: 1 }, d);
  await listed("after an order", { status: "all", direction: "asc", limit: 2, afterOrderId: b.id }, c, d);
});
