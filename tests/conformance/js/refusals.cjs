"use strict";
// What the SDK throws when the venue refuses, with the extra keys that programs read.

const h = require("./harness.cjs");
const { alpaca, check, equal, holds, flat, limit, reaches, working, bought, refused, errors, client, share, URLS } = h;
const { orders } = alpaca.trading;
const NOBODY = "00000000-0000-4000-8000-000000000000";

check("insufficient buying power", async () => {
  await flat();
  const call = () => limit({ qty: 100_000, limitPrice: 230 });
  const { body, error } = await refused(call, errors.PermissionError, 403, 40310000, "insufficient buying power");
  equal([typeof body.buying_power, typeof body.cost_basis], ["string", "string"], "types of the keys");
  holds(error.requestId, "a request id", error.requestId);
  holds(error.rateLimit?.limit > 0 && error.rateLimit.remaining >= 0, "the quota", error.rateLimit);
});

check("insufficient qty", async () => {
  await flat();
  await bought({ qty: 2 });
  await working(await limit({ side: "sell", qty: 2, limitPrice: 260 }));
  const message = "insufficient qty available for order (requested: 1, available: 0)";
  const call = () => limit({ side: "sell", limitPrice: 261 });
  const { body } = await refused(call, errors.PermissionError, 403, 40310000, message);
  equal([body.available, body.existing_qty, body.held_for_orders, body.symbol], ["0", "2", "2", "AAPL"], "keys");
});

check("a client order id is unique for ever", async () => {
  await flat();
  const sent = await working(await limit());
  await orders.deleteOrderByOrderID({ orderId: sent.id });
  await reaches(sent, "canceled");
  const call = () => limit({ clientOrderId: sent.clientOrderId });
  await refused(call, errors.ValidationError, 422, 40010001, "client_order_id must be unique");
});

check("an unknown order", async () => {
  const unknown = (call) => refused(call, errors.NotFoundError, 404, 40410000, "order not found");
  await unknown(() => orders.getOrderByOrderID({ orderId: NOBODY }));
  await unknown(() => orders.getOrderByClientOrderId({ clientOrderId: "nobody" }));
  await unknown(() => orders.deleteOrderByOrderID({ orderId: NOBODY }));
  await unknown(() => orders.patchOrderByOrderId({ orderId: NOBODY, patchOrderRequest: { qty: "1" } }));
});

check("an order that is over", async () => {
  await flat();
  const done = await bought();
  const call = () => orders.deleteOrderByOrderID({ orderId: done.id });
  await refused(call, errors.ValidationError, 422, 42210000, 'order is already in "filled" state');
});

check("a wash trade", async () => {
  await flat();
  await bought({ qty: 5 });
  const buy = await working(await limit({ limitPrice: 225 }));
  const call = () => orders.stop(share({ side: "sell", stopPrice: 220 }));
  const { body } = await refused(call, errors.PermissionError, 403, 40310000, "potential wash trade detected");
  equal(body.existing_order_id, buy.id, "existing order id");
});

check("prices off the grid", async () => {
  await flat();
  await refused(() => limit({ limitPrice: 200.123 }), errors.ValidationError, 422, 42210000, "sub-penny increment");
});

check("wrong keys", async () => {
  const stranger = client(URLS.now, { keyId: "nobody", secret: "nothing" });
  await refused(() => stranger.trading.account.getAccount(), errors.AuthError, 401, undefined, "unauthorized.");
  const connection = await stranger.trading.validateConnection();
  equal([connection.ok, connection.status], [false, 401], "connection");
});

check("too many requests", async () => {
  await flat();
  await h.admin("faults", "get_account: too-many retry-after 3s");
  const call = () => alpaca.trading.account.getAccount();
  const { error } = await refused(call, errors.RateLimitError, 429, 42910000);
  equal(error.retryAfterMs, 3000, "milliseconds to wait");
  const patient = client(URLS.now, { retry: { maxRetries: 2, retryDelayMs: 20, maxDelayMs: 50 } });
  await h.admin("faults", "get_account x2: too-many");
  holds((await patient.trading.account.getAccount()).id, "an account after two retries");
  await h.admin("faults", "get_account: status 503");
  holds((await patient.trading.account.getAccount()).id, "an account after an error of the server");
});

check("an order that the market rejects", async () => {
  await flat();
  await h.admin("reject", { count: 1 });
  holds((await reaches(await limit(), "rejected")).failedAt, "a date of the failure");
});
