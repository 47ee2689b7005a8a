//! `nalpaca doctor`: looks at everything a gateway depends on, and says what to do about what is wrong.

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json as object};

use super::client::{Client, Common, json};
use super::table::{cell, render, words};
use super::{Exit, block_on, output};
use crate::alpaca::rest::{self, ReadError};
use crate::alpaca::{Credential, Pacer};
use crate::bus::ask::AskError;
use crate::bus::listen::fill_of;
use crate::bus::{Census, Severity, Topology};
use crate::clock::Clock;
use crate::config::{self, Config, ProcessEnvironment, Provision};
use crate::domain::MarketClock;
use crate::wire::Encoded;
use crate::wire::service::names;

/// A clock that is so far off moves deadlines by what matters.
const SKEW_MAX: SignedDuration = SignedDuration::from_secs(2);
/// A stream that is so full, in percent, is told of.
const FULL: u64 = 80;
/// Oldest server that is supported.
const SERVER_MIN: (u32, u32) = (2, 10);

#[derive(Debug, Args)]
#[command(after_help = "\
It looks from here: with the settings of this environment, as the user they name. Where ALPACA_API_KEY is set, it asks the
venue, too. It changes nothing. Exit 1: something is wrong.

Examples:
  nalpaca doctor
  nalpaca doctor --output json | jq '.[] | select(.verdict != \"ok\")'")]
pub(super) struct Arguments {
    #[command(flatten)]
    common: Common,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// Not wrong, and worth a look.
    Note,
    Wrong,
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Wrong => "WRONG",
        }
    }
}

/// What was found.
struct Finding {
    verdict: Verdict,
    what: &'static str,
    found: String,
    /// What to do about it.
    cure: String,
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn ok(&mut self, what: &'static str, found: impl Into<String>) {
        self.add(Verdict::Ok, what, found, "");
    }

    fn note(&mut self, what: &'static str, found: impl Into<String>, cure: impl Into<String>) {
        self.add(Verdict::Note, what, found, cure);
    }

    fn wrong(&mut self, what: &'static str, found: impl Into<String>, cure: impl Into<String>) {
        self.add(Verdict::Wrong, what, found, cure);
    }

    fn add(
        &mut self,
        verdict: Verdict,
        what: &'static str,
        found: impl Into<String>,
        cure: impl Into<String>,
    ) {
        self.0.push(Finding {
            verdict,
            what,
            found: found.into(),
            cure: cure.into(),
        });
    }

    fn show(&self, common: &Common) -> Exit {
        let shown = if common.is_json() {
            let rows = self.0.iter().map(|finding| {
                object!({
                    "verdict": finding.verdict.as_str().to_ascii_lowercase(),
                    "what": finding.what,
                    "found": finding.found,
                    "cure": finding.cure,
                })
            });
            json(&Value::Array(rows.collect()))
        } else {
            let columns = [words("", ""), words("WHAT", ""), words("FOUND", "")];
            let mut rows: Vec<Vec<String>> = Vec::new();
            for finding in &self.0 {
                let verdict = finding.verdict.as_str().to_owned();
                rows.push(vec![verdict, finding.what.to_owned(), finding.found.clone()]);
                if !finding.cure.is_empty() {
                    rows.push(vec![String::new(), String::new(), format!("→ {}", finding.cure)]);
                }
            }
            output::answer(render(&columns, &rows))
        };
        let is_wrong = self.0.iter().any(|finding| finding.verdict == Verdict::Wrong);
        if shown == Exit::Ok && is_wrong {
            Exit::Refused
        } else {
            shown
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    block_on(async {
        let mut findings = Findings::default();
        let full = config::load(&ProcessEnvironment);
        settings(&mut findings, &full);
        if let Ok(config) = &full {
            venue(&mut findings, config).await;
        }
        let client = match Client::connect("doctor", &arguments.common).await {
            Ok(client) => client,
            Err(exit) => {
                let cure = "check NATS_URL, NATS_CONTEXT and the credentials; `nats server check connection` says more";
                findings.wrong("nats", "it cannot be reached", cure);
                let shown = findings.show(&arguments.common);
                return if shown == Exit::Refused { exit } else { shown };
            }
        };
        server(&mut findings, &client);
        objects(&mut findings, &client).await;
        streams(&mut findings, &client).await;
        gateway(&mut findings, &client, full.is_ok()).await;
        findings.show(&arguments.common)
    })
}

fn settings(findings: &mut Findings, full: &Result<Config, config::ConfigErrors>) {
    match full {
        Ok(config) => {
            for warning in &config.warnings {
                findings.note(
                    "settings",
                    warning.clone(),
                    "nalpaca check-config shows where each setting comes from",
                );
            }
            findings.ok("settings", "they could run a daemon");
        }
        Err(errors) => {
            let keys_alone = |problem: &config::Problem| problem.name.starts_with("ALPACA_API_");
            if errors.problems.iter().all(keys_alone) {
                let found = "there are no keys in this environment, so the venue is not asked from here";
                findings.ok("settings", found);
                return;
            }
            for problem in &errors.problems {
                findings.wrong(
                    "settings",
                    problem.to_string(),
                    "correct it; nalpaca check-config shows the rest",
                );
            }
        }
    }
}

/// Asks the venue with the keys of this environment.
async fn venue(findings: &mut Findings, config: &Config) {
    let credential = match &config.alpaca.oauth {
        Some(token) => Credential::bearer(token.clone()),
        None => Credential::key_pair(config.alpaca.key.clone().into(), config.alpaca.secret.clone()),
    };
    let endpoint = match credential {
        Ok(credential) => rest::Endpoint {
            base_url: config.alpaca.base_url.clone(),
            credential,
            request_timeout: config.alpaca.request_timeout,
        },
        Err(error) => return findings.wrong("keys", error.to_string(), "copy them again"),
    };
    let client = match rest::Client::new(endpoint, Pacer::new(config.alpaca.rate_limit_per_minute)) {
        Ok(client) => client,
        Err(error) => return findings.wrong("keys", error.to_string(), "copy them again"),
    };
    let place = format!(
        "{} ({})",
        config.alpaca.base_url,
        config.alpaca.environment.as_str()
    );
    match client.account().await {
        Ok(read) => {
            let account = read.value;
            findings.ok(
                "keys",
                format!("{place} knows account {}", account.account_number),
            );
            if config
                .alpaca
                .account
                .as_ref()
                .is_some_and(|wanted| *wanted != account.account_number)
            {
                let found = format!("the keys are of account {}", account.account_number);
                findings.wrong("account", found, "correct ALPACA_ACCOUNT, or the keys");
            }
            let blocked = [
                ("trading is blocked", account.trading_blocked),
                ("the account is blocked", account.account_blocked),
                (
                    "trading was suspended by its owner",
                    account.trade_suspended_by_user,
                ),
            ];
            for (what, _) in blocked.iter().filter(|(_, is_so)| *is_so) {
                findings.wrong("account", *what, "Alpaca's dashboard says why");
            }
            if account.status != "ACTIVE" {
                findings.wrong(
                    "account",
                    format!("its status is {}", account.status),
                    "Alpaca's dashboard says why",
                );
            }
        }
        Err(ReadError::AccountRefused(refusal)) => {
            let found = format!(
                "{place} refuses them: HTTP {} {}",
                refusal.http_status, refusal.message
            );
            findings.wrong(
                "keys",
                found,
                "paper keys (PK…) belong to the paper API, live keys (AK…) to the live one",
            );
        }
        Err(ReadError::Failed { cause, .. }) => {
            findings.wrong(
                "venue",
                format!("{place} does not answer: {cause}"),
                "check ALPACA_URL, DNS and the network",
            );
        }
    }
    if let Ok(read) = client.clock().await {
        let now = Clock::system().now();
        skew(
            findings,
            "clock",
            "this machine's clock and the venue's",
            read.value.timestamp,
            now,
        );
        market(findings, &read.value);
    }
}

fn skew(findings: &mut Findings, what: &'static str, whose: &str, theirs: Timestamp, ours: Timestamp) {
    let apart = ours.duration_since(theirs).abs();
    // The question itself takes a moment.
    let found = if apart < SignedDuration::from_millis(100) {
        format!("{whose} are less than 0.1 s apart")
    } else {
        format!("{whose} are {} ms apart", apart.as_millis())
    };
    if apart > SKEW_MAX {
        findings.wrong(what, found, "deadlines are judged by the clock: run NTP");
    } else {
        findings.ok(what, found);
    }
}

fn market(findings: &mut Findings, clock: &MarketClock) {
    let next = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    if clock.is_open {
        findings.ok(
            "market",
            format!("the regular session is on until {}", next(clock.next_close)),
        );
    } else {
        let cure = "market orders for the day wait for the open at the venue; ORDER_MAX_AGE does not expire them there";
        findings.note("market", format!("closed until {}", next(clock.next_open)), cure);
    }
}

fn server(findings: &mut Findings, client: &Client) {
    let Some((version, _)) = client.connection.server() else {
        return findings.wrong(
            "nats",
            "the server does not say what it is",
            "it should be nats-server",
        );
    };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let numbers = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let urls = client.config.nats.servers.join(",");
    if numbers < SERVER_MIN {
        let cure = format!("use {}.{} or later", SERVER_MIN.0, SERVER_MIN.1);
        findings.wrong("nats", format!("nats-server {version} at {urls}"), cure);
    } else {
        findings.ok("nats", format!("nats-server {version} at {urls}"));
    }
}

async fn objects(findings: &mut Findings, client: &Client) {
    let config = &client.config;
    let topology = Topology::new(&config.objects, &client.subjects, &config.market_data.captured);
    let compared = tokio::time::timeout(
        client.patience,
        topology.compare(&client.connection, Provision::Verify),
    )
    .await;
    match compared {
        Ok(Ok(differences)) => {
            for difference in &differences {
                let cure = "nalpaca provision --dry-run shows what would be done, nalpaca provision does it";
                match difference.severity {
                    Severity::Critical => findings.wrong("objects", difference.to_string(), cure),
                    _ => findings.note("objects", difference.to_string(), cure),
                }
            }
            if differences.is_empty() {
                findings.ok("objects", "streams, consumers and buckets are as declared");
            }
        }
        Ok(Err(error)) => {
            let cure = "is JetStream enabled for this account, and may this user read it? nalpaca permissions prints what each role needs";
            findings.wrong("objects", format!("they cannot be read: {error}"), cure);
        }
        Err(_) => {
            let cure =
                "this user may not read them, or JetStream has no leader: nats server report jetstream";
            findings.wrong("objects", "no answer", cure);
        }
    }
}

async fn streams(findings: &mut Findings, client: &Client) {
    let names = &client.config.objects;
    for stream in [
        names.action_stream.clone(),
        names.journal_stream.clone(),
        format!("KV_{}", names.orders_bucket),
    ] {
        let Ok(Ok(fill)) = tokio::time::timeout(client.patience, fill_of(&client.connection, &stream)).await
        else {
            continue; // told of above
        };
        if let Some(percent) = fill.percent.filter(|percent| *percent >= FULL) {
            let cure = "full, it refuses what is new: raise its limits, or find what fills it";
            findings.wrong(
                "room",
                format!("{stream} is {percent} % full ({} messages)", fill.messages),
                cure,
            );
        }
    }
    let census = tokio::time::timeout(client.patience, Census::take(&client.connection, names)).await;
    let Ok(Ok(census)) = census else { return };
    let waiting: u64 = census.pending.iter().map(|(_, pending)| pending).sum();
    if census.stranded > 0 {
        let found = format!(
            "{} commands were handed out and are in nobody's hands",
            census.stranded
        );
        findings.note(
            "commands",
            found,
            "a running daemon takes them up by sequence; start one",
        );
    } else if waiting > 0 {
        let found = format!("{waiting} wait to be taken");
        findings.note(
            "commands",
            found,
            "does a daemon run, and does a condition hold orders? nalpaca state",
        );
    } else {
        findings.ok("commands", "none waits");
    }
}

async fn gateway(findings: &mut Findings, client: &Client, could_run_here: bool) {
    let asked_at = Clock::system().now();
    let state = match client.try_ask("state.get", Encoded::empty(), names::STATE).await {
        Ok(state) => state,
        Err(AskError::Nobody) => {
            let cure =
                "start it; if it runs: the same NATS account, the same PREFIX, and does it lead (/readyz)?";
            return findings.wrong("gateway", "no gateway answers", cure);
        }
        Err(error) => {
            let cure = "this user needs the role reader or operator: nalpaca permissions";
            return findings.wrong("gateway", error.to_string(), cure);
        }
    };
    let version = cell(&state, "version");
    let environment = cell(&state, "environment");
    findings.ok(
        "gateway",
        format!(
            "{} leads, version {version}, {environment}",
            cell(&state, "instance")
        ),
    );
    if version != env!("CARGO_PKG_VERSION") {
        let found = format!(
            "the gateway has version {version}, and this command {}",
            env!("CARGO_PKG_VERSION")
        );
        findings.note("version", found, "use the same");
    }
    let declared = client.config.alpaca.environment.as_str();
    if could_run_here && declared != environment {
        let found = format!("the gateway trades {environment}, and the settings here say {declared}");
        findings.note(
            "environment",
            found,
            "that is as it should be if these are settings of another gateway",
        );
    }
    if let Some(at) = state["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()) {
        skew(
            findings,
            "gateway clock",
            "this machine's clock and the gateway's",
            at,
            asked_at,
        );
    }
    let mode = cell(&state, "mode");
    if mode == "normal" {
        findings.ok("mode", mode);
    } else {
        let found = format!(
            "{mode} since {}, by {}: {}",
            cell(&state, "mode_since"),
            cell(&state, "mode_by"),
            cell(&state, "mode_reason")
        );
        findings.note("mode", found, "nalpaca resume lets everything through again");
    }
    for condition in state["conditions"].as_array().into_iter().flatten() {
        let name = cell(condition, "name");
        let found = format!(
            "{name} since {}: {}",
            cell(condition, "since"),
            cell(condition, "reason")
        );
        let cure = "docs/runbook.md has what it means and what to do";
        if condition["holds_orders"] == Value::Bool(true) {
            findings.wrong("condition", found, cure);
        } else {
            findings.note("condition", found, cure);
        }
    }
    mirrors(findings, client).await;
    feeds(findings, client, &state).await;
    limits(findings, client, &environment).await;
}

async fn mirrors(findings: &mut Findings, client: &Client) {
    for (what, endpoint, reply) in [
        ("positions", "positions.get", names::POSITIONS),
        ("account", "account.get", names::ACCOUNT),
    ] {
        match client.try_ask(endpoint, Encoded::empty(), reply).await {
            Ok(stated) if stated["fresh"] == Value::Bool(true) => {
                findings.ok(what, format!("fresh, as of {}", cell(&stated, "as_of")));
                if what == "account" && stated["trading_blocked"] == Value::Bool(true) {
                    findings.wrong(what, "the venue blocks trading", "Alpaca's dashboard says why");
                }
            }
            Ok(stated) => {
                let found = format!("not fresh, as of {}", cell(&stated, "as_of"));
                findings.wrong(what, found, "do not rely on them; the conditions above say why");
            }
            Err(error) => findings.wrong(what, error.to_string(), "the role reader may ask for them"),
        }
    }
    if let Ok(clock) = client.try_ask("clock.get", Encoded::empty(), names::CLOCK).await {
        let instant = |name: &str| clock[name].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        if let (Some(theirs), Some(ours)) = (instant("timestamp"), instant("as_of")) {
            skew(
                findings,
                "venue clock",
                "the gateway's clock and the venue's",
                theirs,
                ours,
            );
            let said = MarketClock {
                timestamp: theirs,
                is_open: clock["is_open"] == Value::Bool(true),
                next_open: instant("next_open"),
                next_close: instant("next_close"),
            };
            if !findings.0.iter().any(|finding| finding.what == "market") {
                market(findings, &said);
            }
        }
    }
}

/// What the venue refuses to tell: mostly a matter of the plan.
async fn feeds(findings: &mut Findings, client: &Client, state: &Value) {
    let streams = state["market_data"].as_array().cloned().unwrap_or_default();
    for stream in &streams {
        let class = cell(stream, "class");
        let wanted = stream["confirmed"].as_u64().unwrap_or(0) + stream["refused"].as_u64().unwrap_or(0);
        if stream["connected"] == Value::Bool(true) {
            let found = format!(
                "{class}: {} subscriptions, heard {}",
                cell(stream, "confirmed"),
                cell(stream, "heard_at")
            );
            findings.ok("market data", found);
        } else if wanted == 0 && cell(stream, "reason").is_empty() {
            findings.note(
                "market data",
                format!("{class}: nobody wants to hear anything"),
                "nalpaca tail --add, or the settings",
            );
        } else {
            let found = format!("{class}: not connected: {}", cell(stream, "reason"));
            findings.wrong(
                "market data",
                found,
                "another program may have the account's one connection; docs/market-data.md",
            );
        }
    }
    if streams.is_empty() {
        return;
    }
    let asked = client
        .try_ask(
            "subscriptions.list",
            Encoded::empty(),
            "stream.v0.SubscriptionsReply",
        )
        .await;
    for refused in asked
        .iter()
        .flat_map(|reply| reply["refused"].as_array())
        .flatten()
    {
        let found = format!(
            "{} {} {} is refused: {}",
            cell(refused, "class"),
            cell(refused, "channel"),
            cell(refused, "symbol"),
            cell(refused, "message")
        );
        findings.wrong(
            "entitlement",
            found,
            "the plan of these keys does not have it, or too much is asked for",
        );
    }
}

async fn limits(findings: &mut Findings, client: &Client, environment: &str) {
    let Ok(limits) = client
        .try_ask("limits.get", Encoded::empty(), names::LIMITS)
        .await
    else {
        return;
    };
    let count = limits["limits"].as_array().map_or(0, Vec::len);
    let problem = cell(&limits, "problem");
    if !problem.is_empty() {
        findings.wrong(
            "limits",
            problem,
            "nalpaca limits --file says what is wrong with it",
        );
    } else if count == 0 {
        let verdict = if environment == "live" {
            Verdict::Wrong
        } else {
            Verdict::Note
        };
        findings.add(
            verdict,
            "limits",
            "nothing is limited",
            "write a LIMITS_FILE; docs/limits.md",
        );
    } else {
        findings.ok("limits", format!("{count} hold"));
    }
    if limits["dry_run"] == Value::Bool(true) {
        findings.note(
            "dry run",
            "no order is POSTed",
            "DRY_RUN=false, if that is not meant",
        );
    }
}
