"use strict";
// What the checks share: their list, the words of a failure, the client, and the simulator's levers.

const { Alpaca, errors } = require("@alpacahq/alpaca-trade-api");

const env = (name) => {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is missing in the environment`);
  return value;
};

const URLS = { now: env("SIM_URL"), past: env("SIM_PAST_URL") };
const WS_URLS = { now: env("SIM_WS_URL"), past: env("SIM_PAST_WS_URL") };
const KEYS = { keyId: env("SIM_API_KEY"), secret: env("SIM_API_SECRET") };

class Failed extends Error {
  constructor(expected, got) {
    super(`expected ${expected}, got ${typeof got === "string" ? got : JSON.stringify(got)}`);
  }
}

/** The facade has no option for its hosts, so `fetch` goes elsewhere. */
const at = (base) => (url, init) => fetch(String(url).replace(/^https:\/\/[^/]+/, base), init);

/** No retries and no limit of its own: the venue's answers are what is looked at. */
const client = (base, options = {}) =>
  new Alpaca({ ...KEYS, fetchApi: at(base), retry: false, rateLimit: false, ...options });

const alpaca = client(URLS.now);
const past = client(URLS.past);

const checks = [];
const check = (name, run) => checks.push({ name, run });

async function runChecks() {
  const say = (...words) => console.log(words.join("\t"));
  for (const { name } of checks) say("plan", name);
  for (const { name, run } of checks) {
    try {
      await run();
      say("ok", name);
    } catch (error) {
      if (!(error instanceof Failed)) console.log(error.stack);
      const why = error instanceof Failed ? error.message : `expected no error, got ${error.name}: ${error.message}`;
      say("failed", name, why.replace(/\s+/g, " ").slice(0, 1000));
    }
  }
}

const text = (value) => JSON.stringify(value);

function equal(got, expected, what) {
  if (text(got) !== text(expected)) throw new Failed(`${what} ${text(expected)}`, text(got) ?? "undefined");
}

function number(got, expected, what) {
  if (got == null || Number(got) !== Number(expected)) throw new Failed(`${what} ${expected}`, text(got) ?? "undefined");
}

function between(got, low, high, what) {
  if (got == null || !(Number(got) >= low && Number(got) <= high)) {
    throw new Failed(`${what} from ${low} to ${high}`, text(got) ?? "undefined");
  }
}

function holds(it, what, got) {
  if (!it) throw new Failed(what, text(got) ?? "undefined");
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Waits until `probe` gives something, which is returned. */
async function eventually(what, probe, seconds = 20) {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const got = await probe();
    if (got) return got;
    if (Date.now() > until) throw new Failed(`${what} within ${seconds} s`, text(got) ?? "undefined");
    await sleep(20);
  }
}

/** The SDK's own error for a call that must be refused; gives it and its body, with the keys that only some have. */
async function refused(call, Kind, status, code, message) {
  let error;
  try {
    await call();
  } catch (thrown) {
    error = thrown;
  }
  if (!(error instanceof Kind)) throw new Failed(`a ${Kind.name}`, error ? `${error.name}: ${error.message}` : "no error");
  equal(error.status, status, "status");
  equal(error.code, code, "code");
  if (message && !error.message.includes(message)) throw new Failed(`a message with ${message}`, error.message);
  return { error, body: await error.response.clone().json() };
}

async function admin(path, body, method = body === undefined ? "GET" : "POST") {
  const sent = body === undefined ? undefined : typeof body === "string" ? body : JSON.stringify(body);
  const answer = await fetch(`${URLS.now}/_sim/${path}`, { method, body: sent });
  if (!answer.ok) throw new Failed(`/_sim/${path} to be answered well`, await answer.text());
  return answer.json();
}

const pin = (symbol, price) => admin("price", { symbol, price: String(price) });
const market = (hours) => admin("market", { market: hours });

/** No orders, no positions, an open market, known prices: what a check of orders begins with. */
async function flat() {
  await admin("faults", undefined, "DELETE");
  await market("open");
  const prices = { AAPL: 230, SPY: 600, F: 11.5, "BTC/USD": 95000, "ETH/USD": 3300 };
  for (const [symbol, price] of Object.entries(prices)) await pin(symbol, price);
  await alpaca.trading.orders.deleteAllOrders();
  await eventually("no open orders", async () => (await alpaca.trading.orders.getAllOrders()).length === 0);
  await alpaca.trading.positions.deleteAllOpenPositions({ cancelOrders: true });
  await eventually("no positions", async () => (await alpaca.trading.positions.getAllOpenPositions()).length === 0);
}

const clientOrderId = () => `js-${crypto.randomUUID()}`;
const share = (more) => ({ symbol: "AAPL", qty: 1, side: "buy", clientOrderId: clientOrderId(), ...more });
const limit = (more) => alpaca.trading.orders.limit(share({ limitPrice: 200, ...more }));
const atMarket = (more) => alpaca.trading.orders.market(share(more));

/** Waits for one of the statuses, and gives the order. */
const reaches = (order, ...statuses) =>
  eventually(`a ${order.type} order that is ${statuses}`, async () => {
    const found = await alpaca.trading.orders.getOrderByOrderID({ orderId: order.id });
    return statuses.includes(found.status) && found;
  });

const working = (order) => reaches(order, "new");
const bought = async (more) => reaches(await atMarket(more), "filled");

module.exports = {
  KEYS, URLS, WS_URLS, Failed, errors, client, alpaca, past, check, runChecks, equal, number, between, holds, eventually,
  refused, admin, pin, market, flat, clientOrderId, share, limit, atMarket, reaches, working, bought, sleep,
};
