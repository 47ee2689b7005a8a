#!/usr/bin/env bash
# Makes the streams, consumers and buckets of the gateway: what is missing is made, what is there stays as it is.
#
# The program does this best, and does it by itself at every start (PROVISION=create). Where it is not at hand, the
# `nats` CLI makes the same objects. Both read NATS_URL, NATS_USER, NATS_PASSWORD, NATS_CREDS, NATS_CONTEXT and so on.
# The names can be changed as in .env.tmpl.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# Of several programs, the one that was built here wins.
for program in "${NALPACA:-}" "$here/../../target/release/nalpaca" "$(command -v nalpaca || true)"; do
	if [[ -n $program && -x $program ]]; then
		exec "$program" provision "$@"
	fi
done

if ! command -v nats >/dev/null; then
	echo "init.sh: neither nalpaca nor the nats CLI was found: run \`make build\`, or install the nats CLI" >&2
	exit 69
fi

prefix=${PREFIX:-nalpaca}
action=${ACTION_STREAM:-nalpaca-action-stream-v0}
data=${DATA_STREAM:-nalpaca-data-stream-v0}
journal=${JOURNAL_STREAM:-nalpaca-journal-stream-v0}
orders=${ORDER_CONSUMER:-nalpaca-orders-consumer-v0}
cancel=${CANCEL_CONSUMER:-nalpaca-cancel-consumer-v0}
tradeupdate=${TRADE_UPDATE_CONSUMER:-nalpaca-tradeupdate-consumer-v0}
money=${NATS_KV_BUCKET:-nalpaca}
ledger=${ORDERS_BUCKET:-nalpaca-orders}
replicas=${STREAM_REPLICAS:-1}

# make KIND NAME API BODY: one request to the JetStream API. Objects that are there with other settings stay.
make() {
	local answer
	answer=$(nats request --raw "\$JS.API.$3" "$4")
	case $answer in
	*'"err_code":10058'* | *'"err_code":10148'*) echo "$1 $2: there already with other settings, left as it is" ;;
	*'"error"'* | '')
		echo "init.sh: $1 $2: ${answer:-no answer from JetStream}" >&2
		exit 70
		;;
	*) echo "$1 $2: there" ;;
	esac
}

# stream NAME SUBJECTS SETTINGS: both as the inside of JSON.
stream() { make stream "$1" "STREAM.CREATE.$1" "{\"name\":\"$1\",\"subjects\":[$2],\"num_replicas\":$replicas,$3}"; }

# consumer STREAM NAME FILTERS ACK_WAIT_SECONDS: a durable one, for pulling. It delivers for ever, the gateway paces its retries itself.
consumer() {
	make consumer "$2" "CONSUMER.CREATE.$1.$2" "{\"stream_name\":\"$1\",\"action\":\"create\",\"config\":{\
\"name\":\"$2\",\"durable_name\":\"$2\",\"filter_subjects\":[$3],\"ack_policy\":\"explicit\",\"ack_wait\":$(($4 * second)),\
\"max_deliver\":-1,\"deliver_policy\":\"all\",\"replay_policy\":\"instant\"}}"
}

# bucket NAME STORAGE MAX_AGE DIRECT [MORE]: a key-value bucket is a stream that keeps the last message of each subject.
bucket() {
	stream "KV_$1" "\"\$KV.$1.>\"" "\"storage\":\"$2\",\"max_age\":$3,\"max_msgs_per_subject\":1,\"discard\":\"new\",\
\"allow_rollup_hdrs\":true,\"deny_delete\":true,\"allow_direct\":$4${5-}"
}

readonly second=1000000000
readonly day=$((86400 * second))

# Commands. A full stream refuses; it never drops an order that it has acknowledged.
stream "$action" \
	"\"$prefix.action.v0.orders.>\",\"$prefix.action.v0.cancel.>\",\"$prefix.action.v0.replace.>\",\"$prefix.action.v0.close.>\"" \
	"\"retention\":\"workqueue\",\"storage\":\"file\",\"discard\":\"new\",\"max_msgs\":100000,\"max_msg_size\":65536,\"duplicate_window\":$((600 * second))"
# Cancels have a consumer of their own: they never wait behind orders.
consumer "$action" "$orders" "\"$prefix.action.v0.orders.>\",\"$prefix.action.v0.replace.>\"" 10
consumer "$action" "$cancel" "\"$prefix.action.v0.cancel.>\",\"$prefix.action.v0.close.>\"" 10

# What happens, for those who listen. Quotes, trades and order books are not kept; stock bars are on stocks.<SYM>.
subjects="\"$prefix.data.v0.tradeupdates.>\",\"$prefix.data.v0.stocks.*\",\"$prefix.data.v0.news.>\""
for kind in {stocks,crypto,options}.{updatedbars,dailybars,statuses} {crypto,options}.bars; do
	subjects+=",\"$prefix.data.v0.$kind.>\""
done
stream "$data" "$subjects" \
	"\"retention\":\"interest\",\"storage\":\"file\",\"discard\":\"old\",\"max_age\":$day,\"max_bytes\":1073741824,\"duplicate_window\":$((600 * second))"
consumer "$data" "$tradeupdate" "\"$prefix.data.v0.tradeupdates.>\"" 30

# What happened, for thirty days, whether anybody listened or not.
stream "$journal" "\"$prefix.journal.v0.>\"" \
	"\"retention\":\"limits\",\"storage\":\"file\",\"discard\":\"old\",\"max_age\":$((30 * day)),\"deny_delete\":true,\"allow_direct\":true,\"duplicate_window\":$((7200 * second))"

bucket "$money" file 0 true
# Read through its leader, so that it answers with what was last written.
bucket "$ledger" file $((400 * day)) false
# The last quote, trade and bar of each symbol.
bucket nalpaca-last memory 0 true ",\"max_bytes\":67108864"
# The only bucket that strategies may write.
bucket nalpaca-leases file 0 true
