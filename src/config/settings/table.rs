//! The rows, in the order people read them: what everyone sets first, what only old files have last.

use std::time::Duration;

use super::{Kind, Section, Setting};

const fn seconds(min: u64, max: u64) -> Kind {
    Kind::Duration {
        min: Duration::from_secs(min),
        max: Duration::from_secs(max),
    }
}

const fn count(min: u64, max: u64) -> Kind {
    Kind::Count { min, max }
}

const RECONNECT_DELAY: Kind = Kind::Duration {
    min: Duration::from_millis(10),
    max: Duration::from_secs(60),
};
const PORT: Kind = count(1, 65535);
const ANY_COUNT: Kind = count(0, u64::MAX);
const DAY: u64 = 24 * 60 * 60;
/// Accepted, never used: whatever the old file says is fine.
const ANY_DURATION: Kind = seconds(0, 366 * DAY);

const OWN_HEALTH: &str = "health is told when it changes, nobody is asked for it";
const LEAF_NODES: &str = "JetStream domains and custom prefixes are not in this version";
const OWN_RETRIES: &str =
    "requests are repeated with growing pauses until the order's deadline (ORDER_MAX_AGE)";
const OWN_TIMEOUTS: &str = "every request has its own timeout (HTTP_CLIENT_TIMEOUT)";
const OWN_BUFFERS: &str = "market data has no worker count, buffer size or reconnect limit here";
const NO_GRPC: &str = "there is no gRPC interface here, the NATS service takes its place";
const OWN_METRICS: &str = "the metrics listener bounds itself";
const LOG_TO_STDOUT: &str = "logs go to standard output";
const NO_WEBSOCKET: &str = "NATS is spoken over TCP";

/// The table.
pub const SECTIONS: &[Section] = &[
    Section {
        title: "Names",
        settings: &[
            Setting::new(
                "PREFIX",
                Kind::SubjectPrefix,
                "nalpaca",
                "First tokens of every subject.",
            ),
            Setting::new(
                "INSTANCE",
                Kind::Text,
                "",
                "Name of this daemon, in the state and the lease it writes and in NATS' list of connections. One of two daemons leads; one that is restarted under its name leads again at once. Default: the host's name.",
            ),
            Setting::new(
                "ACTION_STREAM",
                Kind::ObjectName,
                "nalpaca-action-stream-v0",
                "Stream of commands.",
            ),
            Setting::new(
                "ORDER_CONSUMER",
                Kind::ObjectName,
                "nalpaca-orders-consumer-v0",
                "Durable consumer of orders and replaces.",
            ),
            Setting::new(
                "CANCEL_CONSUMER",
                Kind::ObjectName,
                "nalpaca-cancel-consumer-v0",
                "Durable consumer of cancels and closes.",
            ),
            Setting::new(
                "DATA_STREAM",
                Kind::ObjectName,
                "nalpaca-data-stream-v0",
                "Stream of trade updates and market data.",
            ),
            Setting::new(
                "TRADE_UPDATE_CONSUMER",
                Kind::ObjectName,
                "nalpaca-tradeupdate-consumer-v0",
                "Durable consumer of trade updates, provided for subscribers.",
            ),
            Setting::new(
                "JOURNAL_STREAM",
                Kind::ObjectName,
                "nalpaca-journal-stream-v0",
                "Stream of outcomes and of every order event, replayable.",
            ),
            Setting::new(
                "NATS_KV_BUCKET",
                Kind::ObjectName,
                "nalpaca",
                "Bucket of positions, account and state.",
            ),
            Setting::new(
                "ORDERS_BUCKET",
                Kind::ObjectName,
                "nalpaca-orders",
                "Bucket of order records, the ledger.",
            ),
            Setting::new(
                "STREAM_REPLICAS",
                count(1, 5),
                "1",
                "Replicas of every stream and bucket that is created.",
            ),
            Setting::new(
                "PROVISION",
                Kind::Choice(&["create", "adopt", "verify", "none"]),
                "create",
                "create makes what is missing, adopt may also edit, verify only compares, none trusts.",
            ),
        ],
    },
    Section {
        title: "NATS",
        settings: &[
            Setting::new(
                "NATS_URL",
                Kind::List,
                "localhost:4222",
                "Servers, separated by commas.",
            ),
            Setting::new("NATS_USER", Kind::Text, "", "User; needs NATS_PASSWORD."),
            Setting::new("NATS_PASSWORD", Kind::Text, "", "Password of NATS_USER.").secret(),
            Setting::new("NATS_TOKEN", Kind::Text, "", "Token, instead of a user.").secret(),
            Setting::new("NATS_CREDS", Kind::Path, "", "Path of a credentials file."),
            Setting::new("NATS_NKEY", Kind::Path, "", "Path of a file with an nkey seed."),
            Setting::new(
                "NATS_SEED",
                Kind::Text,
                "",
                "An nkey seed itself, instead of NATS_NKEY.",
            )
            .secret(),
            Setting::new(
                "NATS_JWT",
                Kind::Text,
                "",
                "A user's JWT; needs NATS_SEED or NATS_NKEY. NATS_CREDS has both.",
            )
            .secret(),
            Setting::new(
                "NATS_CA",
                Kind::Path,
                "",
                "Path of the certificate authority's certificate (PEM).",
            ),
            Setting::new(
                "NATS_CERT",
                Kind::Path,
                "",
                "Path of our certificate (PEM); needs NATS_KEY.",
            ),
            Setting::new("NATS_KEY", Kind::Path, "", "Path of our certificate's key (PEM)."),
            Setting::new(
                "NATS_TLS_FIRST",
                Kind::Switch,
                "false",
                "Begin with the TLS handshake, for servers with handshake_first.",
            ),
            Setting::new(
                "NATS_CONTEXT",
                Kind::Text,
                "",
                "Name of a context of the nats CLI; variables win over it.",
            ),
            Setting::new(
                "NATS_NAME",
                Kind::Text,
                "",
                "Name of the connection. Default: nalpaca, version and INSTANCE.",
            ),
            Setting::new("NATS_JS_DOMAIN", Kind::Text, "", "JetStream domain.").later(LEAF_NODES),
            Setting::new(
                "NATS_JS_API_PREFIX",
                Kind::Text,
                "",
                "Prefix of the JetStream API's subjects.",
            )
            .later(LEAF_NODES),
            Setting::new(
                "NATS_INBOX_PREFIX",
                Kind::SubjectPrefix,
                "_INBOX",
                "First tokens of the subjects on which answers are received: one's own, so that nobody else may read them.",
            ),
        ],
    },
    Section {
        title: "Alpaca",
        settings: &[
            Setting::new("ALPACA_API_KEY", Kind::Text, "", "Key id of the account.")
                .secret()
                .aliases(&["APCA_API_KEY_ID"])
                .outdated_aliases(&["API_KEY"]),
            Setting::new("ALPACA_API_SECRET", Kind::Text, "", "Secret of the key.")
                .secret()
                .aliases(&["APCA_API_SECRET_KEY"])
                .outdated_aliases(&["API_SECRET"]),
            Setting::new(
                "ALPACA_OAUTH",
                Kind::Text,
                "",
                "OAuth token, instead of key and secret.",
            )
            .secret()
            .aliases(&["APCA_API_OAUTH"]),
            Setting::new(
                "ALPACA_ACCOUNT",
                Kind::Text,
                "",
                "Number of the account, as Alpaca's dashboard shows it: keys of another account are refused.",
            ),
            Setting::new(
                "ALPACA_URL",
                Kind::Text,
                "https://paper-api.alpaca.markets",
                "Trading API.",
            )
            .aliases(&["APCA_API_BASE_URL"]),
            Setting::new(
                "ALPACA_ENV",
                Kind::Choice(&["sim", "paper", "live"]),
                "",
                "What ALPACA_URL is, when it is a simulator on another host; otherwise it is checked against the host.",
            ),
            Setting::new(
                "LIVE_TRADING",
                Kind::Choice(&["yes", "no"]),
                "no",
                "Must be yes for real money.",
            ),
            Setting::new(
                "LIMITS_FILE",
                Kind::Path,
                "",
                "Path of the limits orders must keep (docs/limits.md). Live trading takes some. Read again when it changes.",
            ),
            Setting::new(
                "DRY_RUN",
                Kind::Switch,
                "false",
                "Do everything but the POST: orders end as accepted, marked simulated, and the venue knows nothing of them.",
            ),
            Setting::new(
                "HTTP_CLIENT_TIMEOUT",
                Kind::Duration {
                    min: Duration::from_millis(100),
                    max: Duration::from_secs(120),
                },
                "10s",
                "Longest wait for an answer of the trading API.",
            ),
            Setting::new(
                "RATE_LIMIT_PER_MINUTE",
                count(1, 10_000_000),
                "200",
                "Requests per minute the account may make.",
            ),
            Setting::new("ALPACA_RETRY_LIMIT", ANY_COUNT, "3", "Retries of a request.").ignored(OWN_RETRIES),
            Setting::new("ALPACA_RETRY_DELAY", ANY_DURATION, "1s", "Pause between retries.")
                .ignored(OWN_RETRIES),
            Setting::new(
                "PROCESSING_TIMEOUT",
                ANY_DURATION,
                "3s",
                "Longest work on one message.",
            )
            .ignored(OWN_TIMEOUTS),
        ],
    },
    Section {
        title: "Orders",
        settings: &[
            Setting::new(
                "ENABLE_ORDERS",
                Kind::Switch,
                "true",
                "Execute orders, replaces and closes.",
            ),
            Setting::new("ENABLE_CANCELER", Kind::Switch, "true", "Execute cancels."),
            Setting::new(
                "ORDER_MAX_AGE",
                seconds(0, 30 * DAY),
                "2m",
                "An order that names no deadline is not sent later than this after it was stored; 0 is no deadline.",
            ),
            Setting::new(
                "ORDERS_MAX_IN_FLIGHT",
                count(1, 64),
                "8",
                "Orders of different symbols sent at the same time.",
            ),
            Setting::new(
                "BLIND_POLICY",
                Kind::Choice(&["hold", "allow"]),
                "hold",
                "New orders while trade updates cannot be seen: hold them until their deadline, or allow them.",
            ),
            Setting::new(
                "CANCEL_LATE",
                Kind::Switch,
                "true",
                "Cancel an order that turns out to have reached the venue after its deadline.",
            ),
            Setting::new(
                "ENABLE_TRADE_UPDATER",
                Kind::Switch,
                "true",
                "Publish every order event of the account; without it BLIND_POLICY is allow.",
            ),
            Setting::new(
                "POSITIONS_REFRESH_INTERVAL",
                seconds(1, 60 * 60),
                "15s",
                "Pause between reads of the positions when nothing happens.",
            ),
        ],
    },
    Section {
        title: "Process",
        settings: &[
            Setting::new(
                "SHUTDOWN_TIMEOUT",
                seconds(0, 60 * 60),
                "30s",
                "Longest wait for work in hand when the daemon is told to stop.",
            ),
            Setting::new(
                "HALT_FILE",
                Kind::Path,
                "",
                "While this file is there, the gateway is halted; its first line is the reason.",
            ),
            Setting::new(
                "LOG_LEVEL",
                Kind::Choice(&["trace", "debug", "info", "warn", "warning", "err", "error", "off"]),
                "info",
                "Least important log lines to write.",
            ),
            Setting::new(
                "RUST_LOG",
                Kind::Text,
                "",
                "Filter per module; wins over LOG_LEVEL.",
            ),
            Setting::new(
                "LOG_FMT",
                Kind::Choice(&["json", "text", "logfmt"]),
                "json",
                "Form of log lines.",
            ),
            Setting::new(
                "LOG_SRC",
                Kind::Switch,
                "true",
                "Name file and line in log lines.",
            ),
            Setting::new("LOG_EXPORTER", Kind::Text, "", "Where logs go.").ignored(LOG_TO_STDOUT),
            Setting::new(
                "DISABLE_METRICS",
                Kind::Switch,
                "false",
                "No HTTP listener at all: no /metrics, /livez, /readyz, /version.",
            ),
            Setting::new(
                "METRICS_HOST",
                Kind::IpAddress,
                "127.0.0.1",
                "Address of the HTTP listener; 0.0.0.0 in a container.",
            ),
            Setting::new("METRICS_PORT", PORT, "8088", "Port of the HTTP listener."),
            Setting::new(
                "METRICS_WRITE_TIMEOUT",
                ANY_DURATION,
                "10s",
                "Longest write of an answer.",
            )
            .ignored(OWN_METRICS),
            Setting::new(
                "METRICS_ERR_POLICY",
                Kind::Text,
                "",
                "What a failed scrape answers.",
            )
            .ignored(OWN_METRICS),
            Setting::new(
                "METRICS_MAX_REQ_IN_FLIGHT",
                ANY_COUNT,
                "0",
                "Most scrapes at once.",
            )
            .ignored(OWN_METRICS),
            Setting::new(
                "DISABLE_HEALTH",
                Kind::Switch,
                "false",
                "No gRPC health service (grpc.health.v1.Health, beside /livez and /readyz).",
            ),
            Setting::new(
                "HEALTH_PORT",
                PORT,
                "7654",
                "Port of the gRPC health service, on METRICS_HOST.",
            ),
            Setting::new(
                "HEALTH_PING_INTERVAL",
                ANY_DURATION,
                "10s",
                "Pause between health checks.",
            )
            .ignored(OWN_HEALTH),
            Setting::new(
                "DISABLE_TRACING",
                Kind::Switch,
                "true",
                "No export of traces; what is published carries its command's traceparent on all the same.",
            ),
            Setting::new(
                "TRACE_EXPORTER",
                Kind::Choice(&["otlp", "stdout"]),
                "otlp",
                "How traces are exported: to an OpenTelemetry collector over HTTP, or as log lines.",
            ),
            Setting::new(
                "TRACE_EXPORTER_URL",
                Kind::Text,
                "",
                "Where the collector is. Default: http://localhost:4318/v1/traces; without a path, /v1/traces is added.",
            ),
            Setting::new(
                "TRACE_EXPORTER_TIMEOUT",
                seconds(1, 60),
                "5s",
                "Longest wait for the collector.",
            ),
        ],
    },
    Section {
        title: "Market data",
        settings: &[
            Setting::new(
                "ENABLE_STOCK_STREAM",
                Kind::Switch,
                "false",
                "Publish market data of shares.",
            ),
            Setting::new(
                "STOCK_STREAM_SYMBOLS",
                Kind::List,
                "",
                "Symbols to hear from the start; * is every one.",
            ),
            Setting::new(
                "STOCK_STREAM_CHANNELS",
                Kind::List,
                "bars,statuses",
                "What to hear of them: bars, updatedbars, dailybars, statuses, trades, quotes.",
            ),
            Setting::new(
                "STOCK_STREAM_FEED_TYPE",
                Kind::Text,
                "iex",
                "Feed: iex, sip, delayed_sip, test or another the account's plan has.",
            )
            .aliases(&["STOCK_STREAM_FEED"]),
            Setting::new(
                "STOCK_STREAM_BASE_URL",
                Kind::Text,
                "",
                "Websockets of market data. Default: Alpaca's, or the simulator's own.",
            ),
            Setting::new(
                "STOCK_STREAM_RECONNECT_DELAY",
                RECONNECT_DELAY,
                "150ms",
                "First pause before a reconnect.",
            ),
            Setting::new(
                "ENABLE_CRYPTO_STREAM",
                Kind::Switch,
                "false",
                "Publish market data of coins.",
            ),
            Setting::new(
                "CRYPTO_STREAM_SYMBOLS",
                Kind::List,
                "",
                "Pairs to hear from the start; * is every one.",
            ),
            Setting::new(
                "CRYPTO_STREAM_CHANNELS",
                Kind::List,
                "bars",
                "What to hear of them: bars, updatedbars, dailybars, trades, quotes, orderbooks.",
            ),
            Setting::new(
                "CRYPTO_STREAM_FEED_TYPE",
                Kind::Text,
                "us",
                "Where: us, us-1 or eu-1.",
            ),
            Setting::new(
                "CRYPTO_STREAM_BASE_URL",
                Kind::Text,
                "",
                "As STOCK_STREAM_BASE_URL.",
            ),
            Setting::new(
                "CRYPTO_STREAM_RECONNECT_DELAY",
                RECONNECT_DELAY,
                "150ms",
                "First pause before a reconnect.",
            ),
            Setting::new(
                "ENABLE_OPTION_STREAM",
                Kind::Switch,
                "false",
                "Publish market data of option contracts.",
            ),
            Setting::new(
                "OPTION_STREAM_SYMBOLS",
                Kind::List,
                "",
                "Contracts to hear from the start.",
            ),
            Setting::new(
                "OPTION_STREAM_CHANNELS",
                Kind::List,
                "trades,quotes",
                "What to hear of them: trades, quotes.",
            ),
            Setting::new(
                "OPTION_STREAM_FEED_TYPE",
                Kind::Text,
                "indicative",
                "Feed: indicative or opra.",
            ),
            Setting::new(
                "OPTION_STREAM_BASE_URL",
                Kind::Text,
                "",
                "As STOCK_STREAM_BASE_URL.",
            ),
            Setting::new(
                "OPTION_STREAM_RECONNECT_DELAY",
                RECONNECT_DELAY,
                "150ms",
                "First pause before a reconnect.",
            ),
            Setting::new("ENABLE_NEWS_STREAM", Kind::Switch, "false", "Publish news."),
            Setting::new(
                "NEWS_STREAM_SYMBOLS",
                Kind::List,
                "*",
                "Symbols whose news are published; * is every one.",
            ),
            Setting::new(
                "NEWS_STREAM_BASE_URL",
                Kind::Text,
                "",
                "As STOCK_STREAM_BASE_URL.",
            ),
            Setting::new(
                "NEWS_STREAM_RECONNECT_DELAY",
                RECONNECT_DELAY,
                "150ms",
                "First pause before a reconnect.",
            ),
            Setting::new(
                "DATA_STREAM_TICKS",
                Kind::List,
                "",
                "Ticks the data stream captures, of trades, quotes, orderbooks; the others are told to whoever listens.",
            ),
            Setting::new(
                "MARKET_DATA_FOLLOW",
                Kind::Switch,
                "false",
                "Hear what somebody is subscribed to on NATS, and a minute longer, besides what the settings and programs name.",
            ),
            Setting::new(
                "DATA_ENCODING",
                Kind::Choice(&["protobuf", "json"]),
                "protobuf",
                "With json, what is published in protobuf is told in JSON as well, under PREFIX.json (docs/json.md).",
            ),
            Setting::new(
                "MARKET_DATA_ENCODING",
                Kind::Choice(&["msgpack", "json"]),
                "msgpack",
                "How the venue writes market data; json is for reading along, and longer.",
            ),
            Setting::new(
                "ALPACA_DATA_URL",
                Kind::Text,
                "",
                "Market data API, where missed bars are found. Default: Alpaca's, or the simulator's own.",
            )
            .aliases(&["APCA_API_DATA_URL"]),
            Setting::new("STOCK_STREAM_PROCESSORS", ANY_COUNT, "1", "Workers.").ignored(OWN_BUFFERS),
            Setting::new(
                "STOCK_STREAM_BUFFER_SIZE",
                ANY_COUNT,
                "100000",
                "Buffered messages.",
            )
            .aliases(&["STOCK_STREAM_BUFFER"])
            .ignored(OWN_BUFFERS),
            Setting::new(
                "STOCK_STREAM_RECONNECT_LIMIT",
                ANY_COUNT,
                "20",
                "Reconnects before giving up.",
            )
            .ignored(OWN_BUFFERS),
            Setting::new("NEWS_STREAM_FEED_TYPE", Kind::Text, "", "Feed of news.")
                .ignored("news has one feed"),
            Setting::new("NEWS_STREAM_PROCESSORS", ANY_COUNT, "1", "Workers.").ignored(OWN_BUFFERS),
            Setting::new(
                "NEWS_STREAM_BUFFER_SIZE",
                ANY_COUNT,
                "100000",
                "Buffered messages.",
            )
            .ignored(OWN_BUFFERS),
            Setting::new(
                "NEWS_STREAM_RECONNECT_LIMIT",
                ANY_COUNT,
                "20",
                "Reconnects before giving up.",
            )
            .ignored(OWN_BUFFERS),
        ],
    },
    Section {
        title: "Accepted, without effect",
        settings: &[
            Setting::new(
                "NATS_USE_COMPRESSION",
                Kind::Switch,
                "false",
                "Compression of NATS over websocket.",
            )
            .ignored(NO_WEBSOCKET),
            Setting::new("ENABLE_GRPC", Kind::Switch, "false", "gRPC server.").ignored(NO_GRPC),
            Setting::new(
                "ENABLE_GRPC_PROXY",
                Kind::Switch,
                "false",
                "REST gateway of the gRPC server.",
            )
            .ignored(NO_GRPC),
            Setting::new("GRPC_PORT", Kind::Text, "9200", "Port of the gRPC server.").ignored(NO_GRPC),
            Setting::new("GRPC_MAX_CONN_AGE", Kind::Text, "6m", "Longest gRPC connection.").ignored(NO_GRPC),
            Setting::new(
                "GRPC_MAX_CONN_IDLE",
                Kind::Text,
                "5m",
                "Longest idle gRPC connection.",
            )
            .ignored(NO_GRPC),
            Setting::new(
                "GRPC_PING_TIMEOUT",
                Kind::Text,
                "0s",
                "Longest wait for a ping's answer.",
            )
            .ignored(NO_GRPC),
            Setting::new("GRPC_PING_EVERY", Kind::Text, "2s", "Pause between pings.").ignored(NO_GRPC),
            Setting::new("GRPC_PROXY_PORT", Kind::Text, "8080", "Port of the REST gateway.").ignored(NO_GRPC),
            Setting::new(
                "GRPC_PROXY_MAX_HEADER_BYTES",
                Kind::Text,
                "",
                "Largest header of the REST gateway.",
            )
            .ignored(NO_GRPC),
            Setting::new(
                "GRPC_PROXY_SERVER_TIMEOUT",
                Kind::Text,
                "120s",
                "Timeout of the REST gateway.",
            )
            .ignored(NO_GRPC),
            Setting::new(
                "GRPC_PROXY_READ_HEADER_TIMEOUT",
                Kind::Text,
                "120s",
                "Timeout of the REST gateway.",
            )
            .ignored(NO_GRPC),
            Setting::new(
                "GRPC_PROXY_READ_TIMEOUT",
                Kind::Text,
                "120s",
                "Timeout of the REST gateway.",
            )
            .ignored(NO_GRPC),
            Setting::new(
                "GRPC_PROXY_WRITE_TIMEOUT",
                Kind::Text,
                "120s",
                "Timeout of the REST gateway.",
            )
            .ignored(NO_GRPC),
        ],
    },
];
