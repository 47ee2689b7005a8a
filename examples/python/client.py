"""A client of the gateway: orders and their outcomes, order events, positions, cancels, bars.

    make python-proto
    PYTHONPATH=.tools/python python3 examples/python/client.py order AAPL buy 1

It speaks NATS alone: no key of Alpaca's, no library of theirs. NATS_URL and PREFIX say where.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "gen"))

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy
from tradesvc.v0 import tradesvc_pb2 as pb

PREFIX = os.environ.get("PREFIX") or "nalpaca"
PATIENCE = 30  # seconds anything is waited for


def escape(text):
    """One token of a subject or key: any byte but A-Z a-z 0-9 - _ / is written =HH. "BRK.B" is "BRK=2EB"."""
    return re.sub(rb"[^A-Za-z0-9_/-]", lambda byte: b"=%02X" % ord(byte[0]), text.encode()).decode()


def escape_id(client_order_id):
    """A client order id: its dots split tokens."""
    return ".".join(map(escape, client_order_id.split(".")))


class Client:
    def __init__(self, nc):
        self.nc = nc
        self.js = nc.jetstream()

    async def settle(self, kind, client_order_id, payload=b""):
        """Publishes a command and waits for its one terminal outcome.

        The outcome is listened for first, so that it cannot be missed; the command's sequence tells it from those of
        commands with the same id.
        """
        spelled = escape_id(client_order_id)
        outcomes = await self.nc.subscribe(f"{PREFIX}.journal.v0.outcomes.{spelled}")
        stored = await self.js.publish(f"{PREFIX}.action.v0.{kind}.{spelled}", payload)
        try:
            async with asyncio.timeout(PATIENCE):
                async for message in outcomes.messages:
                    outcome = pb.Outcome.FromString(message.data)
                    if outcome.terminal and outcome.stream_sequence == stored.seq:
                        return outcome
        except TimeoutError:
            sys.exit(f"{client_order_id} is stored as {stored.seq}, and nothing is known of it yet")

    async def order(self, symbol, side, qty):
        trade = pb.Trade(
            symbol=symbol,
            side=pb.Side.Value(f"SIDE_{side.upper()}"),
            qty=qty,
            order_type=pb.ORDER_TYPE_MARKET,
            tif=pb.TIME_IN_FORCE_DAY,
        )
        show(await self.settle("orders", f"python.{uuid.uuid4()}", trade.SerializeToString()))

    async def cancel(self, client_order_id):
        show(await self.settle("cancel", client_order_id))

    async def follow(self, file, until_now):
        """Shows each order event once, also over restarts of this program.

        The sequence of the last one it has dealt with is all it has to remember.
        """
        # An ordered consumer notices what it misses and asks for it again.
        updates = await self.js.subscribe(
            f"{PREFIX}.journal.v0.updates.>",
            stream=os.environ.get("JOURNAL_STREAM") or "nalpaca-journal-stream-v0",
            ordered_consumer=True,
            config=ConsumerConfig(
                deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
                opt_start_seq=int(file.read_text()) + 1 if file.exists() else 1,
            ),
        )
        while True:
            try:
                message = await updates.next_msg(timeout=1)
            except TimeoutError:
                if until_now:
                    return
                continue
            update = pb.TradeUpdate.FromString(message.data)
            sequence = message.metadata.sequence.stream
            print(f"{sequence} {update.event} {update.order.client_order_id} {update.qty}".rstrip(), flush=True)
            # After it was dealt with, whole or not at all.
            fresh = file.with_suffix(".new")
            fresh.write_text(str(sequence))
            fresh.replace(file)

    async def positions(self, count):
        bucket = await self.js.key_value(os.environ.get("NATS_KV_BUCKET") or "nalpaca")
        shown = 0
        async for entry in await bucket.watch("positions"):
            if entry is None:
                continue  # that was all there is; what follows are changes
            positions = pb.Positions.FromString(entry.value)
            held = ", ".join(f"{held.qty} {held.symbol}" for held in positions.positions)
            # An empty list is flat; what is not fresh is vouched for by nobody.
            print(f"positions: [{held}] as of {positions.as_of.ToJsonString()}, fresh {positions.fresh}", flush=True)
            shown += 1
            if shown == count:
                return

    async def bars(self, symbol, start):
        question = {"symbols": [symbol], "timeframe": "1Day", "start": start}
        while True:
            subject = f"{PREFIX}.svc.v0.bars.history"
            answer = await self.nc.request(subject, json.dumps(question).encode(), timeout=PATIENCE)
            if code := (answer.headers or {}).get("Nats-Service-Error-Code"):
                sys.exit(f"{code}: {answer.headers.get('Nats-Service-Error')}")
            # Asked in JSON, the service answers in JSON.
            reply = json.loads(answer.data)
            for bar in reply.get("bars", []):
                print(f"{bar['timestamp'][:10]} {bar['symbol']} close {bar['close']:.2f}")
            if not reply.get("next_page_token"):
                return
            question["page_token"] = reply["next_page_token"]


def show(outcome):
    word = pb.OutcomeKind.Name(outcome.kind).removeprefix("OUTCOME_KIND_")
    print(" ".join(filter(None, [word, outcome.client_order_id, outcome.reason, outcome.message])))
    if word != "ACCEPTED":
        sys.exit("not accepted")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    order = commands.add_parser("order", help="place an order at the market, wait for its outcome")
    order.add_argument("symbol")
    order.add_argument("side", choices=["buy", "sell"])
    order.add_argument("qty")
    cancel = commands.add_parser("cancel", help="cancel an order, wait for the outcome")
    cancel.add_argument("client_order_id")
    follow = commands.add_parser("follow", help="every order event, from where the file says it stopped")
    follow.add_argument("file", type=Path)
    follow.add_argument("--until-now", action="store_true")
    positions = commands.add_parser("positions", help="what the account holds, whenever it changes")
    positions.add_argument("--count", type=int, default=0)
    bars = commands.add_parser("bars", help="daily bars since a date")
    bars.add_argument("symbol")
    bars.add_argument("start")
    return vars(parser.parse_args())


async def main(wanted):
    nc = await nats.connect(os.environ.get("NATS_URL") or "nats://localhost:4222", max_reconnect_attempts=3)
    try:
        await getattr(Client(nc), wanted.pop("command"))(**wanted)
    finally:
        await nc.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(arguments()))
    except KeyboardInterrupt:
        pass
    except nats.errors.Error as error:
        sys.exit(f"gave up: {error}")
