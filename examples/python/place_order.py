"""Places a market order through the gateway and follows it to the position.

    make python-proto
    PYTHONPATH=.tools/python python3 examples/python/place_order.py AAPL buy 1

Needs the gateway and NATS only: no Alpaca key, no Alpaca library. NATS_URL and PREFIX say where. Ends with 0 once
the outcome, a fill and the position have been seen.
"""

import asyncio
import os
import re
import sys
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "gen"))

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy
from nats.js.errors import KeyNotFoundError
from tradesvc.v0 import tradesvc_pb2 as pb

PREFIX = os.environ.get("PREFIX", "nalpaca")
BUCKET = os.environ.get("NATS_KV_BUCKET", "nalpaca")
PATIENCE = 30  # seconds for each thing that is awaited


def escape(text):
    """One token of a subject or key: any byte but A-Z a-z 0-9 - _ / is written =HH. "BRK.B" is "BRK=2EB".

    Only for the tokens themselves: the dots between an order id's tokens stay.
    """
    return re.sub(rb"[^A-Za-z0-9_/-]", lambda byte: b"=%02X" % ord(byte[0]), text.encode()).decode()


async def follow(js, subject):
    """What the journal records under `subject` from now on."""
    return await js.subscribe(
        subject, ordered_consumer=True, config=ConsumerConfig(deliver_policy=DeliverPolicy.NEW)
    )


async def main(symbol, side, qty):
    order_id = f"example-{uuid.uuid4()}"
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"), max_reconnect_attempts=3)
    js = nc.jetstream()
    # Listen first, so that nothing is missed.
    outcomes = await follow(js, f"{PREFIX}.journal.v0.outcomes.{escape(order_id)}")
    updates = await follow(js, f"{PREFIX}.journal.v0.updates.{escape(order_id)}")

    order = pb.Trade(
        symbol=symbol,
        side=pb.Side.Value(f"SIDE_{side.upper()}"),
        qty=qty,
        order_type=pb.ORDER_TYPE_MARKET,
        # Crypto never closes, and knows no day orders.
        tif=pb.TIME_IN_FORCE_GTC if "/" in symbol else pb.TIME_IN_FORCE_DAY,
    )
    # The subject names the order. The header makes a repeated publish harmless, should the answer get lost.
    await js.publish(
        f"{PREFIX}.action.v0.orders.{escape(order_id)}", order.SerializeToString(), headers={"Nats-Msg-Id": order_id}
    )

    outcome = pb.Outcome()
    while not outcome.terminal:
        outcome.ParseFromString((await outcomes.next_msg(timeout=PATIENCE)).data)
    print(f"outcome: {pb.OutcomeKind.Name(outcome.kind)} {outcome.reason} {outcome.message}".rstrip())
    if outcome.kind not in (pb.OUTCOME_KIND_ACCEPTED, pb.OUTCOME_KIND_LATE_ACCEPTED):
        return 1

    update = pb.TradeUpdate()
    while update.event != "fill":
        update.ParseFromString((await updates.next_msg(timeout=PATIENCE)).data)
        print(f"update: {update.event} {update.qty} @ {update.price}".removesuffix("  @ "))
        if update.event in ("canceled", "expired", "rejected"):
            return 1

    bucket = await js.key_value(BUCKET)
    positions = await asyncio.wait_for(read_positions(bucket, update.timestamp.ToDatetime()), PATIENCE)
    held = {position.symbol: position.qty for position in positions.positions}
    print(f"position: {held.get(symbol, '0')} {symbol}")
    await nc.close()
    return 0


async def read_positions(bucket, since):
    """The positions as they were at `since` or later. The mirror follows a fill a moment after it."""
    while True:
        try:
            positions = pb.Positions.FromString((await bucket.get("positions")).value)
            if positions.as_of.ToDatetime() >= since:
                return positions
        except KeyNotFoundError:
            pass
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit("usage: place_order.py SYMBOL buy|sell QTY")
    try:
        sys.exit(asyncio.run(main(*sys.argv[1:])))
    except (TimeoutError, nats.errors.Error) as error:
        sys.exit(f"gave up: {error or 'nothing came in time'}")
