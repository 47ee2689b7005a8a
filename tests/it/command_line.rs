//! Every command as people see it: help, table, JSON and errors, held against what was agreed on.
//!
//! The transcripts are in `tests/it/transcripts`, one for each command. What differs from run to run (times, ids, prices) is
//! written as `<time>`, `<id>`, `<n>`. `make transcripts` (this test with `NALPACA_BLESS=1`) writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::daemon::{Environment, Finished, run};
use crate::support::order::{buy, resting};
use crate::support::proto::encode;
use crate::support::scratch::Scratch;
use crate::support::world::{ACTION_STREAM, Plan, environment};
use crate::support::{NatsServer, Release, World, until};

/// Commands whose transcripts are elsewhere, or nowhere: they run until they are stopped, and other tests run them.
const ELSEWHERE: [&str; 4] = ["demo", "serve", "sim", "help"];

/// Fields that move with the market.
const MOVES: [&str; 12] = [
    "\"unrealized_",
    "\"market_value\"",
    "_market_value\"",
    "\"cost_basis\"",
    "\"change_today\"",
    "_price\": ",
    "equity",
    "cash",
    "buying_power",
    "_margin\"",
    "portfolio_value",
    "\"filled_avg_price\"",
];

const ORDERS_CONSUMER: &str = "nalpaca-orders-consumer-v0";

struct Transcripts {
    environment: Environment,
    texts: BTreeMap<String, String>,
}

impl Transcripts {
    async fn run(&mut self, arguments: &[&str]) -> Finished {
        let ended = run(arguments, &self.environment).await;
        let line: Vec<String> = arguments
            .iter()
            .map(|word| {
                if word.contains([' ', '$', '"']) {
                    format!("'{word}'")
                } else {
                    (*word).to_owned()
                }
            })
            .collect();
        let mut text = format!("$ nalpaca {}\n", line.join(" "));
        text.push_str(&ended.stdout);
        if !ended.stdout.is_empty() && !ended.stdout.ends_with('\n') {
            text.push('\n');
        }
        for line in ended.stderr.lines() {
            text.push_str(&format!("! {line}\n"));
        }
        text.push_str(&format!("[exit {}]\n\n", ended.code));
        let is_help = arguments.contains(&"--help");
        let name = arguments
            .first()
            .copied()
            .unwrap_or("nalpaca")
            .trim_start_matches('-')
            .to_owned();
        let known = self.texts.entry(name).or_default();
        known.push_str(&if is_help { text } else { normal(&text) });
        ended
    }
}

/// What differs from run to run, as a word that says what it is.
fn normal(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        if line.starts_with("$ ") {
            let words = line
                .split(' ')
                .map(|word| if word.starts_with("/tmp/") { "<path>" } else { word });
            out.push_str(&words.collect::<Vec<_>>().join(" "));
            out.push('\n');
            continue;
        }
        // What the market makes of a position may also be nothing.
        let moves = line.starts_with("AAPL ") || MOVES.iter().any(|word| line.contains(word));
        let mut words = Vec::new();
        for word in line.split(' ').filter(|word| !word.is_empty()) {
            words.push(normal_word(word, moves));
        }
        let indent = line.len() - line.trim_start_matches(' ').len();
        // A table is as wide as its cells, which differ.
        out.push_str(&" ".repeat(indent.min(8)));
        let line = words.join(" ");
        // Counts statements, of which there are as many as it took.
        out.push_str(if line.starts_with("\"version\": ") {
            "\"version\": <n>"
        } else {
            &line
        });
        out.push('\n');
    }
    let out = out.replace("<date> <time>", "<time>");
    if text.ends_with("\n\n") {
        format!("{}\n", out.trim_end_matches('\n').to_owned() + "\n")
    } else {
        out
    }
}

fn normal_word(word: &str, moves: bool) -> String {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | ':' | '.' | '/');
    let mut out = String::new();
    let mut part = String::new();
    for letter in word.chars().chain(['\0']) {
        if is_part(letter) {
            part.push(letter);
            continue;
        }
        out.push_str(&normal_part(&part, moves));
        part.clear();
        if letter != '\0' {
            out.push(letter);
        }
    }
    out
}

fn normal_part(part: &str, moves: bool) -> String {
    let trimmed = part.trim_end_matches(['.', ':']);
    let tail = &part[trimmed.len()..];
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_uuid = trimmed.len() == 36 && trimmed.split('-').count() == 5 && hex(&trimmed.replace('-', ""));
    let is_ulid = trimmed.len() == 26
        && trimmed
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
    let is_number = !trimmed.is_empty()
        && trimmed
            .trim_start_matches('-')
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
    let digits = trimmed.bytes().filter(u8::is_ascii_digit).count();
    let normal = if trimmed.parse::<jiff::Timestamp>().is_ok() || is_clock(trimmed) {
        "<time>".to_owned()
    } else if trimmed.parse::<jiff::civil::Date>().is_ok() && trimmed.len() == 10 {
        "<date>".to_owned()
    } else if is_uuid || is_ulid || (trimmed.len() == 32 && hex(trimmed)) {
        "<id>".to_owned()
    } else if let Some((before, after)) = trimmed.rsplit_once('.')
        && after.len() == 32
        && hex(after)
    {
        format!("{before}.<id>")
    } else if let Some(at) = trimmed.find("127.0.0.1:") {
        format!("{}127.0.0.1:<port>", &trimmed[..at])
    } else if trimmed.starts_with("/tmp/") {
        "<path>".to_owned()
    } else if is_number && digits > 0 && (moves || trimmed.contains('.') || digits > 2) {
        "<n>".to_owned()
    } else {
        trimmed.to_owned()
    };
    normal + tail
}

/// `14:03:05Z`.
fn is_clock(text: &str) -> bool {
    text.len() == 9 && text.ends_with('Z') && text.bytes().filter(|byte| *byte == b':').count() == 2
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/transcripts")
}

#[expect(
    clippy::disallowed_methods,
    reason = "NALPACA_BLESS speaks to this test, not to the daemon"
)]
fn hold(texts: &BTreeMap<String, String>) {
    let bless = std::env::var("NALPACA_BLESS").is_ok_and(|text| text == "1");
    if bless {
        fs::create_dir_all(folder()).expect("make the folder");
        for (name, text) in texts {
            fs::write(folder().join(format!("{name}.txt")), text).expect("write the transcript");
        }
        return;
    }
    for (name, text) in texts {
        let path = folder().join(format!("{name}.txt"));
        let agreed = fs::read_to_string(&path).unwrap_or_default();
        if agreed == *text {
            continue;
        }
        let differs = agreed
            .lines()
            .zip(text.lines())
            .position(|(one, other)| one != other);
        let at = differs.unwrap_or(agreed.lines().count().min(text.lines().count()));
        let context = |text: &str| {
            let lines = text.lines().skip(at.saturating_sub(5)).take(12);
            lines.map(|line| format!("    {line}\n")).collect::<String>()
        };
        panic!(
            "{name} is not as agreed; if it should be so, run `make transcripts`\n  agreed, line {}:\n{}  now:\n{}",
            at + 1,
            context(&agreed),
            context(text)
        );
    }
}

/// The names of all commands, from the help.
async fn commands() -> Vec<String> {
    let help = run(&["--help"], &Environment::new()).await.stdout;
    let list = help.split("Commands:").nth(1).expect("the help lists commands");
    let list = list.split("Options:").next().unwrap_or(list);
    list.lines()
        .filter_map(|line| line.strip_prefix("  ").filter(|name| !name.starts_with(' ')))
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .filter(|name| !ELSEWHERE.contains(&name.as_str()))
        .collect()
}

/// Fills the account with something to see.
async fn prepare(world: &World) {
    world.order("momentum.1", &buy("AAPL", "10")).await;
    world.order("momentum.2", &resting("BRK.B")).await;
    world.order("other.1", &resting("MSFT")).await;
    for id in ["momentum.1", "momentum.2", "other.1"] {
        assert_eq!(world.outcome(id).await["kind"], "OUTCOME_KIND_ACCEPTED");
    }
    world.filled("momentum.1").await;
    world.journal("updates.momentum.1", 3).await;
    world.journal("updates.other.1", 2).await;
    until("the position to show", async || {
        let positions = world.ask("positions.get", &json!({})).await.ok()?;
        let account = world.ask("account.get", &json!({})).await.ok()?;
        let shows = positions["positions"][0]["qty"] == "10" && account["long_market_value"] != "0";
        shows.then_some(())
    })
    .await;
}

#[tokio::test]
async fn every_command_is_as_agreed() {
    let scratch = Scratch::new();
    let limits = scratch.path().join("limits.toml");
    fs::write(
        &limits,
        "[account]\nmax_order_qty = 1000\n[strategy.momentum]\nmax_open_orders = 3\n",
    )
    .expect("write");
    let wrong = scratch.path().join("wrong.toml");
    fs::write(&wrong, "[account]\nmax_order_qyt = 1\n").expect("write");
    let (limits, wrong) = (limits.display().to_string(), wrong.display().to_string());
    let man = scratch.path().join("man").display().to_string();
    let world = Plan::new()
        .set("LIMITS_FILE", &limits)
        .set("INSTANCE", "test")
        .start()
        .await;
    prepare(&world).await;
    let mut transcripts = Transcripts {
        environment: [
            ("NATS_URL".to_owned(), world.nats.url()),
            ("USER".to_owned(), "ann".to_owned()),
        ]
        .into(),
        texts: BTreeMap::new(),
    };
    for command in commands().await {
        let help = transcripts.run(&[&command, "--help"]).await;
        assert_eq!(help.code, 0, "{command}");
    }
    for arguments in [
        // Errors that connect to nothing.
        &["buy", "AAPL"][..],
        &["buy", "AAPL", "ten"],
        &["buy", "AAPL", "1", "--limit", "cheap"],
        &["buy", "AAPL", "1", "--notional", "100"],
        &["buy", "AAPL", "1", "--id", "two words"],
        &["replace", "momentum.2"],
        &["close"],
        &["cancel"],
        &["order"],
        &["watch", "--strategy", "momentum"],
        &["replay", "--since", "soon"],
        &["limits", "--file", &wrong],
        &["limits", "--file", "no-such-file.toml"],
        &["limits", "--file", &limits],
        &["decode", "Nothing"],
        &["top", "--every", "0"],
        &["completions", "csh"],
        &["bars"],
        &["tail", "rumours"],
        // What there is to see.
        &["state"],
        &["state", "--output", "json"],
        &["account"],
        &["account", "--output", "json"],
        &["positions"],
        &["positions", "AAPL", "--output", "json"],
        &["positions", "MSFT"],
        &["orders"],
        &["orders", "--open", "--strategy", "momentum", "--output", "json"],
        &["orders", "--status", "closed"],
        &["orders", "--symbol", "NVDA"],
        &["order", "momentum.1"],
        &["order", "momentum.2", "--output", "json"],
        &["order", "nobody.1"],
        &["limits"],
        &["limits", "--output", "json"],
        &["top", "--once"],
        &["doctor"],
        &["doctor", "--output", "json"],
        &["replay", "outcomes", "--since", "1h"],
        &["replay", "updates", "--id", "momentum.1"],
        &["replay", "updates", "--strategy", "other", "--output", "json"],
        &["watch", "--count", "0"],
        // Commands.
        &["buy", "AAPL", "2", "--id", "cli.1"],
        &[
            "buy", "AAPL", "2", "--limit", "1.50", "--tif", "gtc", "--id", "cli.2", "--wait",
        ],
        &[
            "buy",
            "AAPL",
            "2",
            "--limit",
            "1.50",
            "--take-profit",
            "300",
            "--stop-loss",
            "1",
            "--id",
            "cli.3",
            "--wait",
            "--output",
            "json",
        ],
        &["buy", "AAPL", "5000", "--id", "cli.4", "--wait"],
        &["sell", "AAPL", "1", "--wait"],
        &["replace", "cli.2", "--limit", "1.60", "--id", "cli.5", "--wait"],
        &[
            "replace",
            "momentum.2",
            "--limit",
            "1.60",
            "--id",
            "cli.6",
            "--wait",
        ],
        &["close", "AAPL", "--percent", "50", "--id", "cli.7", "--wait"],
        &["close", "NVDA", "--wait"],
        &["cancel", "momentum.2", "--wait"],
        &["cancel", "--strategy", "cli", "--wait"],
        &["cancel", "other.1", "--direct", "--output", "json"],
        &["cancel", "nobody", "--wait"],
        // Modes.
        &["reduce-only", "the close is near", "--by", "ann"],
        &["buy", "MSFT", "1", "--wait"],
        &["cancel-only", "--by", "ann", "--output", "json"],
        &["halt", "lunch", "--by", "ann"],
        &["sell", "AAPL", "1", "--wait"],
        &["resume", "--by", "ann"],
        &["replay", "modes"],
        &["completions", "fish"],
        &["man", "--into", &man],
    ] {
        if arguments[0] == "completions" && arguments[1] == "fish" {
            // Its length is its own affair.
            let script = run(arguments, &transcripts.environment).await;
            assert!(script.code == 0 && script.stdout.contains("complete -c nalpaca"));
            continue;
        }
        transcripts.run(arguments).await;
    }
    for page in ["nalpaca.1", "nalpaca-buy.1", "nalpaca-config-env.1"] {
        let text = fs::read_to_string(PathBuf::from(&man).join(page)).expect("the page is there");
        assert!(text.contains(".SH"), "{page}");
    }
    // Nobody there.
    transcripts
        .environment
        .insert("NATS_URL".to_owned(), "nats://127.0.0.1:1".to_owned());
    for arguments in [
        &["state", "--timeout", "1"][..],
        &["buy", "AAPL", "1", "--timeout", "1"],
        &["halt", "--timeout", "1", "--by", "ann"],
    ] {
        transcripts.run(arguments).await;
    }
    hold(&transcripts.texts);
}

#[test]
fn what_differs_from_run_to_run_is_seen_and_nothing_else() {
    for (text, expected) in [
        ("as of 2026-11-29 02:32:17Z\n", "as of <time>\n"),
        (r#""at": "2026-11-29T02:32:20.99Z","#, r#""at": "<time>","#),
        ("cli.01a2252572b377c38e43cbf02be4458a ok", "cli.<id> ok"),
        ("904837e3-3b76-47ec-b432-046db621571b", "<id>"),
        ("nats://127.0.0.1:33993", "nats://127.0.0.1:<port>"),
        ("qty  10  429.54 -0.15 3 of 12", "qty 10 <n> <n> 3 of 12"),
        ("accepted", "accepted"),
    ] {
        assert_eq!(normal(text).trim_end(), expected.trim_end(), "{text}");
    }
}

#[tokio::test]
async fn real_money_is_shown_and_not_traded_without_a_yes() {
    let nats = NatsServer::start(Release::Recent).await;
    let client = nats.options().connect(nats.url()).await.expect("connect");
    let mut asked = client
        .subscribe("nalpaca.svc.v0.state.get")
        .await
        .expect("subscribe");
    client.flush().await.expect("flush");
    // A gateway that says that it trades real money; nobody takes a command.
    let mut answers = tokio::task::JoinSet::new();
    answers.spawn(async move {
        while let Some(question) = asked.next().await {
            let state = encode("tradesvc.v0.GatewayState", &json!({"environment": "live"}));
            let reply = question.reply.expect("it waits for an answer");
            client.publish(reply, state.into()).await.expect("answer");
        }
    });
    let environment: Environment = [("NATS_URL".to_owned(), nats.url())].into();
    for arguments in [
        &["buy", "AAPL", "1"][..],
        &["close", "--all"],
        &["replace", "a.1", "--qty", "2"],
    ] {
        let refused = run(arguments, &environment).await;
        assert_eq!(refused.code, 2, "{}", refused.stderr);
        assert!(refused.stderr.starts_with("LIVE: "), "{}", refused.stderr);
        assert!(
            refused.stderr.contains("this is real money; say --yes"),
            "{}",
            refused.stderr
        );
        let sure = run(&[arguments, &["--yes"]].concat(), &environment).await;
        assert_eq!(sure.code, 69, "{}", sure.stderr);
        assert!(sure.stderr.contains("no stream takes it"), "{}", sure.stderr);
    }
    // A resume lets orders through; a halt must never wait for a person, and a cancel takes risk away.
    let resumed = run(&["resume"], &environment).await;
    assert!(
        resumed.code == 2 && resumed.stderr.contains("say --yes"),
        "{}",
        resumed.stderr
    );
    for arguments in [&["halt"][..], &["cancel", "--all"]] {
        let ended = run(arguments, &environment).await;
        assert!(
            ended.code == 69 && !ended.stderr.contains("--yes"),
            "{arguments:?}: {}",
            ended.stderr
        );
    }
    answers.shutdown().await;
}

/// What `doctor` finds: its rows, and how it ended.
async fn diagnosis(environment: &Environment) -> (Vec<Value>, i32) {
    let ended = run(&["doctor", "--output", "json", "--timeout", "2"], environment).await;
    let rows =
        serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    (rows, ended.code)
}

/// The row about something that has this verdict and tells of this.
fn is_told(rows: &[Value], verdict: &str, what: &str, found: &str) -> bool {
    rows.iter().any(|row| {
        let has_cure = verdict == "ok" || row["cure"].as_str().is_some_and(|cure| !cure.is_empty());
        row["verdict"] == verdict
            && row["what"] == what
            && row["found"].as_str().is_some_and(|text| text.contains(found))
            && has_cure
    })
}

#[tokio::test]
async fn the_doctor_finds_what_is_broken_and_says_what_to_do() {
    let mut world = World::start().await;
    let environment = environment(&world.nats, &world.sim);
    let with = |name: &str, value: &str| {
        let mut changed = environment.clone();
        changed.insert(name.to_owned(), value.to_owned());
        changed
    };

    let (rows, code) = diagnosis(&environment).await;
    assert_eq!(code, 0, "nothing is wrong: {rows:#?}");
    assert!(is_told(&rows, "ok", "keys", "knows account"), "{rows:#?}");

    let (rows, code) = diagnosis(&with("ALPACA_API_SECRET", "not-the-secret")).await;
    assert_eq!(code, 1);
    assert!(is_told(&rows, "wrong", "keys", "refuses them"), "{rows:#?}");

    let (rows, code) = diagnosis(&with("ALPACA_ACCOUNT", "SOMEBODY")).await;
    assert_eq!(code, 1);
    assert!(
        is_told(&rows, "wrong", "account", "the keys are of account"),
        "{rows:#?}"
    );

    let (rows, code) = diagnosis(&with("PREFIX", "elsewhere")).await;
    assert_eq!(code, 1);
    assert!(
        is_told(&rows, "wrong", "gateway", "no gateway answers"),
        "{rows:#?}"
    );

    let halted = run(&["halt", "lunch", "--by", "ann"], &environment).await;
    assert_eq!(halted.code, 0, "{}", halted.stderr);
    let (rows, code) = diagnosis(&environment).await;
    assert_eq!(code, 0, "a halt is meant: {rows:#?}");
    assert!(is_told(&rows, "note", "mode", "by ann: lunch"), "{rows:#?}");

    let (rows, code) = diagnosis(&with("ALPACA_URL", "http://127.0.0.1:1")).await;
    assert_eq!(code, 1);
    assert!(is_told(&rows, "wrong", "venue", "does not answer"), "{rows:#?}");

    assert_eq!(world.daemon.terminate().await, 0);
    world
        .jetstream
        .delete_consumer_from_stream(ORDERS_CONSUMER, ACTION_STREAM)
        .await
        .expect("delete the consumer");
    let (rows, code) = diagnosis(&environment).await;
    assert_eq!(code, 1);
    assert!(is_told(&rows, "wrong", "objects", ORDERS_CONSUMER), "{rows:#?}");
    assert!(
        is_told(&rows, "wrong", "gateway", "no gateway answers"),
        "{rows:#?}"
    );
}
