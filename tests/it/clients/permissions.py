"""Tries, as one user of NATS, what standard input lists, and says of each whether it was allowed.

    python3 permissions.py URL USER PASSWORD < trials.json > verdicts.json

A trial is {"op": ..., "subject": ..., ...}. The verdict is "allowed", "denied", or what else went wrong.
"""

import asyncio
import json
import sys

import nats
from nats.js.errors import NoStreamResponseError

# Long enough for an answer on this machine; only what is denied waits it out.
PATIENCE = 1.0


async def main(url, user, password):
    complaints = []

    async def complain(error):
        complaints.append(str(error))

    client = await nats.connect(
        url,
        user=user,
        password=password,
        inbox_prefix=f"_INBOX_{user}".encode(),
        error_cb=complain,
        allow_reconnect=False,
    )
    stream = client.jetstream(timeout=PATIENCE)

    async def attempt(trial):
        subject = trial.get("subject", "")
        payload = trial.get("payload", "").encode()
        match trial["op"]:
            case "publish":
                await client.publish(subject, payload, reply=trial.get("reply", ""))
            case "store":
                await stream.publish(subject, payload)
            case "subscribe":
                await client.subscribe(subject)
            case "request":
                await client.request(subject, payload, timeout=PATIENCE)
            case "kv_get":
                bucket = await stream.key_value(trial["bucket"])
                await bucket.get(trial["key"])
            case "fetch":
                pull = await stream.pull_subscribe_bind(trial["consumer"], trial["stream"])
                [message] = await pull.fetch(1, timeout=PATIENCE)
                await message.ack_sync(timeout=PATIENCE)
            case other:
                raise ValueError(f"no such trial: {other}")
        await client.flush()

    verdicts = []
    for trial in json.load(sys.stdin):
        complaints.clear()
        try:
            await attempt(trial)
            why = ""
        except (TimeoutError, nats.errors.TimeoutError, NoStreamResponseError) as error:
            why = type(error).__name__
        # The server's complaint came before its answer to the flush, but errors are told in their own time.
        for _ in range(60):
            denied = any("permissions violation" in complaint.lower() for complaint in complaints)
            if denied or trial["op"] not in ("publish", "subscribe"):
                break
            await asyncio.sleep(0.005)
        if denied:
            verdicts.append("denied")
        else:
            verdicts.append(why or "allowed")
    json.dump(verdicts, sys.stdout)
    await client.close()


asyncio.run(main(*sys.argv[1:]))
