//! The configuration as a whole, from maps.

use std::collections::BTreeMap;
use std::fs;

use secrecy::ExposeSecret as _;

use super::*;
use crate::domain::market::Channel;

const CANARY: &str = "canary-7f3a91";

/// Paper keys, and what else a test wants.
fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let keys = [("ALPACA_API_KEY", "PKTEST"), ("ALPACA_API_SECRET", "secret")];
    keys.iter()
        .chain(pairs)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn loaded(pairs: &[(&str, &str)]) -> Config {
    load(&map(pairs)).unwrap_or_else(|errors| panic!("{pairs:?}: {errors}"))
}

fn refused(pairs: &[(&str, &str)]) -> String {
    match load(&map(pairs)) {
        Ok(_) => panic!("{pairs:?} should be refused"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn keys_are_enough() {
    let config = loaded(&[("HOSTNAME", "gateway-0")]);
    assert_eq!(config.prefix, "nalpaca");
    assert_eq!(config.instance, "gateway-0");
    assert_eq!(config.nats.servers, ["localhost:4222"]);
    assert!(matches!(config.nats.auth, NatsAuth::None));
    assert_eq!(config.alpaca.base_url, "https://paper-api.alpaca.markets");
    assert_eq!(config.alpaca.environment, Environment::Paper);
    assert_eq!(config.alpaca.request_timeout, Duration::from_secs(10));
    assert_eq!(config.orders.max_age, Some(Duration::from_secs(120)));
    assert_eq!(config.orders.max_in_flight, 8);
    assert_eq!(config.orders.blind_policy, BlindPolicy::Hold);
    assert_eq!(config.admin.metrics, Some(([127, 0, 0, 1], 8088).into()));
    assert_eq!(config.log.filter, "warn,nalpaca=info");
    assert_eq!(config.provision, Provision::Create);
    assert_eq!(
        config.objects.trade_update_consumer,
        "nalpaca-tradeupdate-consumer-v0"
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let text = refused(&[
        ("PREFIX", "a..b"),
        ("ENABLE_ORDERS", "yes"),
        ("ORDER_MAX_AGE", "10"),
        ("ORDERS_MAX_IN_FLIGHT", "65"),
        ("METRICS_HOST", "example.com"),
        ("METRICS_PORT", "tcp://10.0.0.1:8088"),
        ("PROVISION", "maybe"),
        ("JOURNAL_STREAM", "a.b"),
        ("NATS_USER", "me"),
        ("NATS_CERT", "/nonexistent"),
        ("RUST_LOG", "nalpaca=loudly"),
        ("LOG_LEVEL", "chatty"),
        ("STOCK_STREAM_RECONNECT_DELAY", "soon"),
        ("INSTANCE", "two words"),
        ("DATA_STREAM", "nalpaca-action-stream-v0"),
    ]);
    for line in [
        "PREFIX: \"a..b\" is no subject prefix",
        "ENABLE_ORDERS: \"yes\" is neither true nor false; write true or false",
        "ORDER_MAX_AGE: \"10\" has no unit",
        "ORDERS_MAX_IN_FLIGHT: 65 is out of range; write a whole number from 1 to 64",
        "METRICS_HOST: \"example.com\" is no IP address",
        "METRICS_PORT: \"tcp://10.0.0.1:8088\" is not a number",
        "PROVISION: \"maybe\" is unknown; write one of: create, adopt, verify, none",
        "JOURNAL_STREAM: \"a.b\" is no name",
        "NATS_PASSWORD: is missing beside NATS_USER",
        "NATS_CERT: cannot read /nonexistent",
        "NATS_KEY: is missing beside NATS_CERT",
        "RUST_LOG: ",
        "LOG_LEVEL: \"chatty\" is unknown",
        "STOCK_STREAM_RECONNECT_DELAY: \"soon\" is not a duration",
        "INSTANCE: \"two words\" is no name",
        "ACTION_STREAM, DATA_STREAM: are both",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    assert_eq!(text.lines().count(), 17, "{text}");
}

#[test]
fn missing_keys_are_named() {
    let errors = load(&BTreeMap::<String, String>::new()).unwrap_err();
    let names: Vec<_> = errors
        .problems
        .iter()
        .map(|problem| problem.name.as_str())
        .collect();
    assert_eq!(names, ["ALPACA_API_KEY", "ALPACA_API_SECRET"]);
}

#[test]
fn an_empty_variable_is_absent() {
    let config = loaded(&[("LOG_LEVEL", ""), ("PREFIX", "  "), ("NATS_TOKEN", "")]);
    assert_eq!(
        (config.log.filter.as_str(), config.prefix.as_str()),
        ("warn,nalpaca=info", "nalpaca")
    );
}

#[test]
fn the_host_says_whose_money_it_is() {
    for (url, declared, environment, base_url) in [
        (
            "paper-api.alpaca.markets",
            "",
            Environment::Paper,
            "https://paper-api.alpaca.markets",
        ),
        (
            "https://paper-api.alpaca.markets/v2/",
            "paper",
            Environment::Paper,
            "https://paper-api.alpaca.markets",
        ),
        (
            "https://PAPER-API.alpaca.markets.",
            "",
            Environment::Paper,
            "https://paper-api.alpaca.markets.",
        ),
        ("localhost:8443", "", Environment::Sim, "http://localhost:8443"),
        ("127.0.0.1:1", "sim", Environment::Sim, "http://127.0.0.1:1"),
        ("http://[::1]:9/", "", Environment::Sim, "http://[::1]:9"),
        ("[::1]:9", "", Environment::Sim, "http://[::1]:9"),
        ("http://sim:8080", "sim", Environment::Sim, "http://sim:8080"),
    ] {
        let config = loaded(&[("ALPACA_URL", url), ("ALPACA_ENV", declared)]);
        assert_eq!(config.alpaca.environment, environment, "{url}");
        assert_eq!(config.alpaca.base_url, base_url, "{url}");
    }
    for (pairs, said) in [
        (
            &[("ALPACA_URL", "https://api.alpaca.markets")][..],
            "without LIVE_TRADING=yes",
        ),
        (
            &[
                ("ALPACA_URL", "https://api.alpaca.markets"),
                ("LIVE_TRADING", "yes"),
            ],
            "LIMITS_FILE: is missing, and live trading takes limits",
        ),
        (
            &[
                ("ALPACA_URL", "https://api.alpaca.markets"),
                ("ALPACA_ENV", "sim"),
            ],
            "says sim, but api.alpaca.markets is live",
        ),
        (
            &[("ALPACA_URL", "https://paper-api.alpaca.markets.evil.example")],
            "taken for real money",
        ),
        (
            &[("ALPACA_URL", "https://127.0.0.1.evil.example")],
            "taken for real money",
        ),
        (&[("ALPACA_URL", "localhost@evil.example")], "credentials inside"),
        (
            &[("ALPACA_URL", "https://localhost.evil.example")],
            "taken for real money",
        ),
        (
            &[("ALPACA_URL", "http://paper-api.alpaca.markets")],
            "unencrypted",
        ),
        (&[("ALPACA_URL", "ftp://paper-api.alpaca.markets")], "scheme"),
        (&[("ALPACA_URL", "https://paper-api.alpaca.markets?x=1")], "query"),
        (&[("ALPACA_API_KEY", "AKLIVE")], "is a live key"),
        (&[("ALPACA_URL", "https://api.alpaca.markets")], "is a paper key"),
        (&[("ALPACA_API_SECRET", "two words")], "has a blank"),
    ] {
        assert!(
            refused(pairs).contains(said),
            "{said:?} is not in {}",
            refused(pairs)
        );
    }
}

#[test]
fn a_simulator_needs_no_keys() {
    let map: BTreeMap<String, String> = [("ALPACA_URL".to_owned(), "localhost:8443".to_owned())].into();
    let config = load(&map).unwrap();
    assert_eq!(config.alpaca.key, "sim");
    assert_eq!(config.alpaca.secret.expose_secret(), "sim");
}

#[test]
fn an_oauth_token_stands_alone() {
    let map: BTreeMap<String, String> = [("APCA_API_OAUTH".to_owned(), "token".to_owned())].into();
    assert!(load(&map).unwrap().alpaca.oauth.is_some());
    let both = loaded(&[("ALPACA_OAUTH", "token")]);
    assert_eq!(both.alpaca.key, "");
    assert!(
        both.warnings[0].contains("ALPACA_API_SECRET are not"),
        "{:?}",
        both.warnings
    );
}

#[test]
fn two_names_may_agree_but_not_differ() {
    let agree = loaded(&[("APCA_API_KEY_ID", "PKTEST"), ("API_SECRET", "secret")]);
    assert_eq!(
        agree.warnings,
        ["API_SECRET: is an old name; write ALPACA_API_SECRET"]
    );
    for (pair, names) in [
        (
            ("APCA_API_KEY_ID", "PKOTHER"),
            "ALPACA_API_KEY, APCA_API_KEY_ID: ",
        ),
        (("API_SECRET", "other"), "ALPACA_API_SECRET, API_SECRET: "),
    ] {
        let text = refused(&[pair]);
        assert!(
            text.contains(names) && text.contains("different values"),
            "{text}"
        );
        assert!(!text.contains(pair.1), "{text}");
    }
}

/// A folder that goes when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("nalpaca-config-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap_or_default();
    }
}

#[test]
fn a_mounted_file_holds_a_value() {
    let folder = Folder::new();
    let secret = folder.file("secret", "from file\n".replace(' ', "-").as_str());
    let prefix = folder.file("prefix", "desk\n");
    let empty = folder.file("empty", "\n");
    let map: BTreeMap<String, String> = [
        ("ALPACA_API_KEY", "PKTEST"),
        ("ALPACA_API_SECRET_FILE", &secret),
        ("PREFIX_FILE", &prefix),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let config = load(&map).unwrap();
    assert_eq!(config.alpaca.secret.expose_secret(), "from-file");
    assert_eq!(config.prefix, "desk");

    let text = refused(&[
        ("ALPACA_API_SECRET_FILE", &secret),
        ("PREFIX_FILE", "/nonexistent"),
        ("INSTANCE_FILE", &empty),
    ]);
    assert!(
        text.contains("ALPACA_API_SECRET, ALPACA_API_SECRET_FILE: have different values"),
        "{text}"
    );
    assert!(text.contains("PREFIX_FILE: cannot read /nonexistent"), "{text}");
    assert!(
        text.contains("INSTANCE_FILE: ") && text.contains("is empty"),
        "{text}"
    );
}

/// It has the shape of one.
const JWT: &str = "eyJ0eXAiOiJKV1QifQ.eyJqdGkiOiJ4In0.c2ln";

/// A credentials file as `nsc` writes it.
fn creds_file(seed: &str) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{JWT}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )
}

#[test]
fn nats_takes_one_way_to_authenticate() {
    let folder = Folder::new();
    let pair = nkeys::KeyPair::new_user().seed().unwrap();
    let creds = folder.file("user.creds", &creds_file(&pair));
    let no_jwt = folder.file("no-jwt.creds", &pair);
    let seed = folder.file("user.nk", &format!("# seed\n{pair}\n"));
    type Check = fn(&NatsAuth) -> bool;
    let cases: [(&[(&str, &str)], Check); 9] = [
        (
            &[("NATS_USER", "me"), ("NATS_PASSWORD", "pw")],
            |auth| matches!(auth, NatsAuth::UserPassword { user, .. } if user == "me"),
        ),
        (&[("NATS_TOKEN", "t")], |auth| matches!(auth, NatsAuth::Token(_))),
        (
            &[("NATS_CREDS", &creds)],
            |auth| matches!(auth, NatsAuth::Jwt { jwt, .. } if jwt.expose_secret() == JWT),
        ),
        (
            &[("NATS_CREDS_FILE", &creds)],
            |auth| matches!(auth, NatsAuth::Jwt { jwt, .. } if jwt.expose_secret() == JWT),
        ),
        (
            &[("NATS_NKEY", &seed)],
            |auth| matches!(auth, NatsAuth::NkeySeed(seed) if seed.expose_secret().starts_with("SU")),
        ),
        (&[("NATS_SEED", &pair)], |auth| {
            matches!(auth, NatsAuth::NkeySeed(_))
        }),
        (&[("NATS_SEED", &pair), ("NATS_JWT", JWT)], |auth| {
            matches!(auth, NatsAuth::Jwt { .. })
        }),
        (&[("NATS_NKEY", &seed), ("NATS_JWT", JWT)], |auth| {
            matches!(auth, NatsAuth::Jwt { .. })
        }),
        (
            &[("NATS_URL", "nats://me:p%40w@one:4222, tls://two")],
            |auth| matches!(auth, NatsAuth::UserPassword { user, password } if user == "me" && password.expose_secret() == "p@w"),
        ),
    ];
    for (pairs, is_right) in cases {
        let auth = loaded(pairs).nats.auth;
        assert!(is_right(&auth), "{pairs:?} gave {auth:?}");
    }
    assert_eq!(
        loaded(&[("NATS_URL", "nats://me:pw@one:4222, tls://two,three")])
            .nats
            .servers,
        ["nats://one:4222", "tls://two", "three"]
    );
    for (pairs, said) in [
        (
            &[("NATS_TOKEN", "t"), ("NATS_CREDS", creds.as_str())][..],
            "NATS_TOKEN, NATS_CREDS: are different ways",
        ),
        (&[("NATS_SEED", "nonsense")], "NATS_SEED: has no user's nkey seed"),
        (
            &[("NATS_SEED", "SUAEXAMPLE")],
            "NATS_SEED: has no user's nkey seed",
        ),
        (&[("NATS_JWT", JWT)], "NATS_JWT: needs the seed"),
        (
            &[("NATS_CREDS", no_jwt.as_str())],
            "NATS_CREDS: has no user's JWT",
        ),
        (&[("NATS_INBOX_PREFIX", "_INBOX.*")], "NATS_INBOX_PREFIX: "),
        (&[("NATS_URL", "ws://one")], "NATS_URL: server 1 is a websocket"),
        (
            &[("NATS_URL", "one,http://two")],
            "NATS_URL: server 2 has an unknown scheme",
        ),
        (&[("NATS_URL", ",")], "NATS_URL: names no server"),
        (
            &[("NATS_URL", "nats://a@one,nats://b@two")],
            "different credentials",
        ),
        (&[("NATS_URL", "one:port")], "server 1 is no address"),
    ] {
        assert!(
            refused(pairs).contains(said),
            "{said:?} is not in {}",
            refused(pairs)
        );
    }
}

#[test]
fn a_context_of_the_nats_cli_is_read_and_variables_win() {
    let folder = Folder::new();
    let pair = nkeys::KeyPair::new_user().seed().unwrap();
    folder.file("home/prod.creds", &creds_file(&pair));
    folder.file(
        "nats/context/prod.json",
        r#"{"description":"x","url":"nats://ctx:4222","creds":"~/prod.creds","tls_first":true,"nsc":"nsc://o/a/u"}"#,
    );
    let root = folder.0.display().to_string();
    let home = folder.0.join("home").display().to_string();
    let base = [
        ("XDG_CONFIG_HOME", root.as_str()),
        ("HOME", home.as_str()),
        ("NATS_CONTEXT", "prod"),
    ];
    let config = loaded(&base);
    assert_eq!(config.nats.servers, ["nats://ctx:4222"]);
    assert!(config.nats.tls.first);
    assert!(matches!(&config.nats.auth, NatsAuth::Jwt { seed, .. } if seed.expose_secret() == pair));
    assert_eq!(
        config.warnings,
        ["NATS_CONTEXT: nsc of context prod is not supported"]
    );

    let config = loaded(&[&base[..], &[("NATS_URL", "own:4222"), ("NATS_TOKEN", "t")]].concat());
    assert_eq!(config.nats.servers, ["own:4222"]);
    assert!(matches!(config.nats.auth, NatsAuth::Token(_)));

    for name in ["missing", "../prod"] {
        let text = refused(&[base[0], base[1], ("NATS_CONTEXT", name)]);
        assert!(text.contains("NATS_CONTEXT: "), "{text}");
    }
}

#[test]
fn what_has_no_effect_is_said() {
    let config = loaded(&[
        ("STOCK_STREAM_PROCESSORS", "4"),
        ("METRICS_ERR_POLICY", "whatever"),
        ("ALPACA_RETRY_LIMIT", "lots"),
        ("PROCESSING_TIMEOUT", "3s"),
        ("NALPACA_PREFX", "x"),
        ("NALPACA_COLOR_OF_THE_SKY", "blue"),
        ("NALPACA_SERVICE_HOST", "10.0.0.1"),
        ("NALPACA_PORT_8088_TCP_ADDR", "10.0.0.1"),
        ("ENABLE_TRADE_UPDATER", "false"),
        ("BLIND_POLICY", "hold"),
    ]);
    assert_eq!(
        config.warnings,
        [
            "ALPACA_RETRY_LIMIT: no effect: requests are repeated with growing pauses until the order's deadline (ORDER_MAX_AGE)",
            "METRICS_ERR_POLICY: no effect: the metrics listener bounds itself",
            "STOCK_STREAM_PROCESSORS: no effect: market data has no worker count, buffer size or reconnect limit here",
            "NALPACA_COLOR_OF_THE_SKY: is not known; `nalpaca config env` lists what is",
            "NALPACA_PREFX: is not known, did you mean PREFIX?",
            "BLIND_POLICY: hold has no effect while ENABLE_TRADE_UPDATER is false, orders pass",
        ]
    );
    assert_eq!(config.orders.blind_policy, BlindPolicy::Allow);
}

#[test]
fn streams_of_market_data_are_found_whatever_path_was_given() {
    let on = [
        ("ENABLE_STOCK_STREAM", "true"),
        ("STOCK_STREAM_SYMBOLS", "AAPL, BRK.B"),
    ];
    let stream = |pairs: &[(&str, &str)]| {
        let streams = loaded(&[&on[..], pairs].concat()).market_data.streams;
        assert_eq!(streams.len(), 1);
        streams.into_iter().next().unwrap()
    };
    let usual = stream(&[]);
    assert_eq!(usual.url, "wss://stream.data.alpaca.markets/v2/iex");
    assert_eq!(
        usual.subscriptions.of(Channel::Bars).collect::<Vec<_>>(),
        ["AAPL", "BRK.B"]
    );
    assert_eq!(usual.subscriptions.len(), 4, "bars and statuses");
    for given in [
        "https://x.test/v2",
        "wss://x.test/v2/",
        "x.test",
        "http://x.test/v1beta1/news",
    ] {
        let url = stream(&[("STOCK_STREAM_BASE_URL", given), ("STOCK_STREAM_FEED", "sip")]).url;
        let (scheme, rest) = url.split_once("://").unwrap();
        assert_eq!(rest, "x.test/v2/sip", "{given}");
        assert_eq!(scheme == "ws", given.starts_with("http://"), "{given}");
    }
    let simulated = stream(&[("ALPACA_URL", "http://127.0.0.1:8090")]);
    assert_eq!(simulated.url, "ws://127.0.0.1:8090/v2/iex");
    let news = loaded(&[("ENABLE_NEWS_STREAM", "true")]).market_data;
    assert_eq!(
        news.streams[0].url,
        "wss://stream.data.alpaca.markets/v1beta1/news"
    );
    assert_eq!(news.history_url, "https://data.alpaca.markets");
    assert!(loaded(&[]).market_data.streams.is_empty());

    for (pair, said) in [
        (
            ("STOCK_STREAM_CHANNELS", "orderbooks"),
            "\"orderbooks\" is none; write of trades, quotes, bars",
        ),
        (("STOCK_STREAM_SYMBOLS", "A A"), "\"A A\" is no symbol"),
        (
            ("CRYPTO_STREAM_FEED_TYPE", "us/../x"),
            "CRYPTO_STREAM_FEED_TYPE: ",
        ),
        (
            ("DATA_STREAM_TICKS", "bars"),
            "write of trades, quotes, orderbooks",
        ),
        (
            ("STOCK_STREAM_BASE_URL", "ftp://x"),
            "STOCK_STREAM_BASE_URL: is no address",
        ),
    ] {
        let text = refused(&[pair]);
        assert!(text.contains(said), "{said:?} is not in {text}");
    }
}

#[test]
fn traces_go_where_they_are_sent() {
    assert_eq!(loaded(&[]).trace, None);
    for (given, expected) in [
        ("", "http://localhost:4318/v1/traces"),
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        (
            "https://collector/otlp/v1/traces",
            "https://collector/otlp/v1/traces",
        ),
    ] {
        let config = loaded(&[("DISABLE_TRACING", "false"), ("TRACE_EXPORTER_URL", given)]);
        let url = expected.to_owned();
        assert_eq!(config.trace.unwrap().exporter, TraceExporter::Otlp { url });
    }
    let logged = loaded(&[("DISABLE_TRACING", "0"), ("TRACE_EXPORTER", "stdout")]);
    assert_eq!(logged.trace.unwrap().exporter, TraceExporter::Log);
    let text = refused(&[("TRACE_EXPORTER_URL", "collector:4318")]);
    assert!(
        text.contains("TRACE_EXPORTER_URL: is no http or https URL"),
        "{text}"
    );
    let text = refused(&[("HEALTH_PORT", "8088")]);
    assert!(text.contains("METRICS_PORT, HEALTH_PORT: are one port"), "{text}");
}

#[test]
fn log_levels_of_both_programs_are_known() {
    for (level, filter) in [
        ("err", "error"),
        ("ERROR", "error"),
        ("warning", "warn"),
        ("off", "off"),
        ("debug", "warn,nalpaca=debug"),
        ("info", "warn,nalpaca=info"),
    ] {
        assert_eq!(loaded(&[("LOG_LEVEL", level)]).log.filter, filter);
    }
    assert_eq!(
        loaded(&[("LOG_LEVEL", "err"), ("RUST_LOG", "debug")]).log.filter,
        "debug"
    );
    assert_eq!(loaded(&[("LOG_FMT", "logfmt")]).log.format, LogFormat::Logfmt);
}

#[test]
fn zero_means_none_where_it_says_so() {
    let config = loaded(&[("ORDER_MAX_AGE", "0"), ("DISABLE_METRICS", "1")]);
    assert_eq!(config.orders.max_age, None);
    assert_eq!(config.admin.metrics, None);
}

#[test]
fn debug_shows_no_secret() {
    let config = loaded(&[
        ("NATS_USER", "me"),
        ("NATS_PASSWORD", CANARY),
        ("ALPACA_API_KEY", CANARY),
        ("ALPACA_API_SECRET", CANARY),
    ]);
    assert!(!format!("{config:?}").contains(CANARY), "{config:?}");
}

#[test]
fn the_table_holds_together() {
    let mut names = BTreeMap::new();
    for setting in settings::all() {
        let aliases = setting.aliases.iter().chain(setting.outdated_aliases);
        for name in std::iter::once(&setting.name).chain(aliases) {
            assert!(names.insert(*name, setting.name).is_none(), "{name} stands twice");
        }
        assert!(
            setting.help.ends_with('.') && !setting.help.contains('#'),
            "{}",
            setting.name
        );
        // Errors repeat the value of every other kind.
        assert!(
            !setting.secret || setting.kind == settings::Kind::Text,
            "{}",
            setting.name
        );
    }
}
