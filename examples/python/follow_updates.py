"""Follows every order event of the account, and goes on where it stopped.

    make python-proto
    PYTHONPATH=.tools/python python3 examples/python/follow_updates.py --state events.seq
    PYTHONPATH=.tools/python python3 examples/python/follow_updates.py --since 1200 --until-now

The journal keeps each event once, in order per order, for thirty days. Its sequence is all a program must remember
to miss nothing and to see nothing twice: it is written to the state file after an event was dealt with, so that one
that was being dealt with during a crash comes again, and no other. Needs the gateway's NATS only. NATS_URL,
JOURNAL_STREAM and PREFIX say where.
"""

import argparse
import asyncio
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "gen"))

import nats
from nats.js.api import ConsumerConfig, DeliverPolicy
from tradesvc.v0 import tradesvc_pb2 as pb

PREFIX = os.environ.get("PREFIX", "nalpaca")
STREAM = os.environ.get("JOURNAL_STREAM", "nalpaca-journal-stream-v0")
UPDATES = f"{PREFIX}.journal.v0.updates.>"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--since", type=int, help="first journal sequence wanted; default: the one after the state file's")
    parser.add_argument("--state", type=Path, help="file that remembers how far this program has come")
    parser.add_argument("--until-now", action="store_true", help="end with the last event there is now")
    return parser.parse_args()


def deal_with(sequence, update):
    """Your program goes here."""
    order = update.order
    executed = f" {update.qty} @ {update.price}" if update.qty else ""
    recovered = " (recovered)" if update.recovered else ""
    print(f"{sequence} {update.event} {order.symbol or '-'} {order.client_order_id}{executed}{recovered}", flush=True)


async def main(wanted):
    since = wanted.since
    if since is None:
        since = int(wanted.state.read_text()) + 1 if wanted.state and wanted.state.exists() else 1
    nc = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"), max_reconnect_attempts=3)
    js = nc.jetstream()
    # An ordered consumer notices what it misses and asks for it again.
    events = await js.subscribe(
        UPDATES,
        stream=STREAM,
        ordered_consumer=True,
        config=ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=since),
    )
    while True:
        if wanted.until_now and (await events.consumer_info()).num_pending == 0 and events.pending_msgs == 0:
            break
        try:
            message = await events.next_msg(timeout=1)
        except TimeoutError:
            continue
        sequence = message.metadata.sequence.stream
        deal_with(sequence, pb.TradeUpdate.FromString(message.data))
        if wanted.state:
            # Replaced whole, never half written.
            fresh = wanted.state.with_suffix(".new")
            fresh.write_text(str(sequence))
            fresh.replace(wanted.state)
    await nc.close()


if __name__ == "__main__":
    try:
        asyncio.run(main(arguments()))
    except KeyboardInterrupt:
        pass
    except nats.errors.Error as error:
        sys.exit(f"gave up: {error}")
