// A client of the gateway: orders and their outcomes, order events, positions, cancels, bars. It speaks NATS alone: no key of
// Alpaca's, no library of theirs. Commands are written in JSON; what comes back is read by the .proto files as they are.
//
//   npm ci && npm run build && node dist/client.js order AAPL buy 1
//
// NATS_URL and PREFIX say where.

import { randomUUID } from "node:crypto";
import { existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { DeliverPolicy, jetstream, type JetStreamClient } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import { connect, type NatsConnection } from "@nats-io/transport-node";
import protobuf from "protobufjs";

const USAGE = `usage:
  order SYMBOL buy|sell QTY        place an order at the market, wait for its outcome
  cancel CLIENT_ORDER_ID           cancel it, wait for the outcome
  follow FILE [--until-now]        every order event, from where FILE says it stopped
  positions [--count N]            what the account holds, whenever it changes
  bars SYMBOL DATE                 daily bars since then`;

/** Milliseconds anything is waited for. */
const PATIENCE = 30_000;
const PREFIX = process.env.PREFIX || "nalpaca";

interface Outcome {
  client_order_id: string;
  kind: string;
  terminal: boolean;
  stream_sequence: string;
  reason: string;
  message: string;
}

interface TradeUpdate {
  event: string;
  qty: string;
  order: { client_order_id: string; symbol: string };
}

interface Positions {
  positions: { symbol: string; qty: string }[];
  as_of: { seconds: string };
  fresh: boolean;
}

const proto = join(dirname(fileURLToPath(import.meta.url)), "../../../proto");
const root = new protobuf.Root();
root.resolvePath = (_origin, target) => (target.startsWith("google/") ? target : join(proto, target));
await root.load(["tradesvc/v0/tradesvc.proto"], { keepCase: true });

/** Reads a message of tradesvc.v0: 64-bit numbers as text, enums by name, and what is absent as its default. */
function read<T>(name: string, bytes: Uint8Array): T {
  const type = root.lookupType(`tradesvc.v0.${name}`);
  return type.toObject(type.decode(bytes), { enums: String, longs: String, defaults: true, arrays: true }) as T;
}

/** One token of a subject or key: any byte but A-Z a-z 0-9 - _ / is written =HH. "BRK.B" is "BRK=2EB". */
function escape(text: string): string {
  return Buffer.from(text, "utf8")
    .toString("latin1")
    .replace(/[^A-Za-z0-9_/-]/g, (byte) => `=${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`);
}

/** A client order id: its dots split tokens. */
const escapeId = (id: string): string => id.split(".").map(escape).join(".");

class Client {
  private constructor(
    private readonly nc: NatsConnection,
    private readonly js: JetStreamClient,
  ) {}

  static async connect(): Promise<Client> {
    const nc = await connect({ servers: process.env.NATS_URL || "nats://localhost:4222", name: "nalpaca-example-ts" });
    return new Client(nc, jetstream(nc));
  }

  close = (): Promise<void> => this.nc.close();

  /**
   * Publishes a command and waits for its one terminal outcome. The outcome is listened for first, so that it cannot be missed;
   * the command's sequence tells it from those of commands with the same id.
   */
  private async settle(kind: string, id: string, payload: string): Promise<Outcome> {
    const outcomes = this.nc.subscribe(`${PREFIX}.journal.v0.outcomes.${escapeId(id)}`);
    const late = setTimeout(() => outcomes.unsubscribe(), PATIENCE);
    try {
      const stored = await this.js.publish(`${PREFIX}.action.v0.${kind}.${escapeId(id)}`, payload);
      for await (const message of outcomes) {
        const outcome = read<Outcome>("Outcome", message.data);
        if (outcome.terminal && outcome.stream_sequence === String(stored.seq)) return outcome;
      }
      throw new Error(`${id} is stored as ${stored.seq}, and nothing is known of it yet`);
    } finally {
      clearTimeout(late);
      outcomes.unsubscribe();
    }
  }

  async order(symbol: string, side: string, qty: string): Promise<void> {
    const trade = { symbol, side, qty, order_type: "market", tif: "day" };
    show(await this.settle("orders", `ts.${randomUUID()}`, JSON.stringify(trade)));
  }

  async cancel(id: string): Promise<void> {
    show(await this.settle("cancel", id, ""));
  }

  /**
   * Shows each order event once, also over restarts of this program: the sequence of the last one it has dealt with is all it
   * has to remember.
   */
  async follow(file: string, untilNow: boolean): Promise<void> {
    const start = existsSync(file) ? Number(readFileSync(file, "utf8")) + 1 : 1;
    if (!Number.isSafeInteger(start)) throw new Error(`${file} holds no sequence`);
    // An ordered consumer notices what it misses and asks for it again.
    const updates = await this.js.consumers.get(process.env.JOURNAL_STREAM || "nalpaca-journal-stream-v0", {
      filter_subjects: [`${PREFIX}.journal.v0.updates.>`],
      deliver_policy: DeliverPolicy.StartSequence,
      opt_start_seq: start,
    });
    for (;;) {
      const message = await updates.next({ expires: 1000 });
      if (message === null) {
        if (untilNow) return;
        continue;
      }
      const update = read<TradeUpdate>("TradeUpdate", message.data);
      console.log(`${message.seq} ${update.event} ${update.order.client_order_id} ${update.qty}`.trimEnd());
      // After it was dealt with, whole or not at all.
      writeFileSync(`${file}.new`, String(message.seq));
      renameSync(`${file}.new`, file);
    }
  }

  async positions(count: number): Promise<void> {
    const bucket = await new Kvm(this.js).open(process.env.NATS_KV_BUCKET || "nalpaca");
    const changes = await bucket.watch({ key: "positions" });
    let shown = 0;
    for await (const entry of changes) {
      const { positions, as_of, fresh } = read<Positions>("Positions", entry.value);
      const held = positions.map(({ qty, symbol }) => `${qty} ${symbol}`).join(", ");
      // An empty list is flat; what is not fresh is vouched for by nobody.
      console.log(`positions: [${held}] as of ${new Date(Number(as_of.seconds) * 1000).toISOString()}, fresh ${fresh}`);
      if (++shown === count) return;
    }
  }

  async bars(symbol: string, start: string): Promise<void> {
    let pageToken = "";
    do {
      const question = { symbols: [symbol], timeframe: "1Day", start, page_token: pageToken };
      const subject = `${PREFIX}.svc.v0.bars.history`;
      const answer = await this.nc.request(subject, JSON.stringify(question), { timeout: PATIENCE });
      const code = answer.headers?.get("Nats-Service-Error-Code");
      if (code) throw new Error(`${code}: ${answer.headers?.get("Nats-Service-Error")}`);
      // Asked in JSON, the service answers in JSON.
      const reply = answer.json<{
        bars?: { symbol: string; timestamp: string; close: number }[];
        next_page_token?: string;
      }>();
      for (const bar of reply.bars ?? []) {
        console.log(`${bar.timestamp.slice(0, 10)} ${bar.symbol} close ${bar.close.toFixed(2)}`);
      }
      pageToken = reply.next_page_token ?? "";
    } while (pageToken !== "");
  }
}

function show({ kind, client_order_id, reason, message }: Outcome): void {
  const word = kind.replace("OUTCOME_KIND_", "");
  console.log([word, client_order_id, reason, message].filter((part) => part !== "").join(" "));
  if (word !== "ACCEPTED") throw new Error("not accepted");
}

async function main(): Promise<void> {
  const { positionals, values } = parseArgs({
    allowPositionals: true,
    options: { "until-now": { type: "boolean", default: false }, count: { type: "string", default: "0" } },
  });
  const [command, one, two, three] = positionals;
  const client = await Client.connect();
  try {
    if (command === "order" && one && two && three) await client.order(one, two, three);
    else if (command === "cancel" && one) await client.cancel(one);
    else if (command === "follow" && one) await client.follow(one, values["until-now"]);
    else if (command === "positions") await client.positions(Number(values.count));
    else if (command === "bars" && one && two) await client.bars(one, two);
    else throw new Error(USAGE);
  } finally {
    await client.close();
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
