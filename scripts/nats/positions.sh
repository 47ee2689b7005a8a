#!/usr/bin/env bash
# Prints the account's positions: the key `positions` of the gateway's bucket, decoded.
# Reads NATS_URL and the other variables of the nats CLI, and NATS_KV_BUCKET. Arguments go to `nalpaca positions`.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

for program in "${NALPACA:-}" "$here/../../target/release/nalpaca" "$(command -v nalpaca || true)"; do
	if [[ -n $program && -x $program ]]; then
		exec "$program" positions "$@"
	fi
done

# Without the program: any protoc can read the message too.
if command -v nats >/dev/null && command -v protoc >/dev/null; then
	nats kv get "${NATS_KV_BUCKET:-nalpaca}" positions --raw |
		protoc --proto_path="$here/../../proto" --decode=tradesvc.v0.Positions tradesvc/v0/tradesvc.proto
	exit
fi
echo "positions.sh: nalpaca was not found (run \`make build\`), nor were the nats CLI and protoc" >&2
exit 69
