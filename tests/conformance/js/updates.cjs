"use strict";
// The account's trade updates: what each order says as it lives, and a connection that is lost.

const h = require("./harness.cjs");
const { alpaca, check, equal, number, between, holds, flat, limit, atMarket, working, eventually, admin, WS_URLS } = h;
const { streaming } = require("@alpacahq/alpaca-trade-api");

const updates = [];
let stream;
let reconnected = 0;

const of = (order, event) => updates.filter((update) => update.order.id === order.id && (!event || update.event === event));
const heard = (order, event, count = 1) =>
  eventually(`event ${event}`, () => of(order, event).length >= count && of(order, event).at(-1));

const url = `${WS_URLS.now}/stream`;
const subscribed = (one) => new Promise((resolve) => one.once("subscription", resolve));

async function listen() {
  if (stream) return;
  stream = alpaca.trading.stream({ url, initialReconnectMs: 50, maxReconnectMs: 200 });
  stream.onTradeUpdate((update) => updates.push(update));
  stream.onReconnected(() => reconnected++);
  const confirmed = subscribed(stream);
  stream.connect();
  equal((await stream.waitForAuthenticationResult(10_000)).authenticated, true, "authenticated");
  stream.subscribeTradeUpdates();
  equal(await confirmed, ["trade_updates"], "the streams listened to");
}

check("a fill is streamed", async () => {
  await flat();
  await listen();
  const sent = await atMarket({ qty: 3 });
  const fill = await heard(sent, "fill");
  number(fill.qty, 3, "qty");
  number(fill.positionQty, 3, "position qty");
  between(fill.price, 229, 231, "price");
  holds(fill.executionId && fill.timestamp instanceof Date, "an execution id and a date", fill);
  equal([fill.order.status, fill.order.clientOrderId], ["filled", sent.clientOrderId], "the order");
  holds(of(sent, "new").length === 1 && of(sent).at(-1).event === "fill", "new, and the fill last", of(sent).map((u) => u.event));
});

check("a partial fill is streamed", async () => {
  await flat();
  await listen();
  const sent = await working(await limit({ qty: 4 }));
  await admin("fill", { order: sent.clientOrderId, qty: "1", price: "199.5" });
  const part = await heard(sent, "partial_fill");
  equal([Number(part.price), Number(part.order.filledQty)], [199.5, 1], "price and filled qty");
});

check("the end of orders is streamed", async () => {
  await flat();
  await listen();
  const old = await working(await limit());
  const fresh = await alpaca.trading.orders.patchOrderByOrderId({ orderId: old.id, patchOrderRequest: { limitPrice: "201" } });
  equal((await heard(old, "replaced")).order.replacedBy, fresh.id, "replaced by");
  await working(fresh);
  await alpaca.trading.orders.deleteOrderByOrderID({ orderId: fresh.id });
  equal((await heard(fresh, "canceled")).order.status, "canceled", "status");
});

check("an order is submitted and waited for", async () => {
  await flat();
  await listen();
  const done = await alpaca.trading.submitAndWait({ ...h.share(), type: "market" }, { stream, timeoutMs: 15_000 });
  equal(done.status, "filled", "status");
});

for (const [name, faults] of [
  ["a dropped stream comes back", "stream: drop"],
  ["an ended stream comes back", "stream: end"],
  ["a stream that is refused for a while comes back", "stream: refuse 1s\nstream: drop"],
]) {
  check(name, async () => {
    await flat();
    await listen();
    const before = reconnected;
    const confirmed = subscribed(stream);
    await admin("faults", faults);
    await eventually("a second connection", () => reconnected > before);
    await confirmed;
    await heard(await atMarket(), "fill");
  });
}

check("wrong keys are refused on the stream", async () => {
  // The account has one slot, which the stream above holds.
  await listen();
  stream.disconnect();
  await eventually("a free slot", async () => !(await admin("state")).stream_connected);
  const stranger = new streaming.TradingStream({ url, credentials: { keyId: "nobody", secret: "nothing" } });
  stranger.connect();
  const result = await stranger.waitForAuthenticationResult(10_000);
  equal(result.authenticated, false, "authenticated");
  equal(result.status, streaming.STREAM_AUTH_STATUS?.SERVER_REJECTED ?? "server_rejected", "why not");
  stranger.disconnect();
});
