//! From texts to one checked `Config`.
//!
//! First every setting's text is parsed by its kind, then the parts are put together and compared with each other.
//! A value that does not parse is replaced by its default, so that one mistake does not hide the next; the
//! problem it left behind keeps the result from being used.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;

use super::limits;
use super::settings::{self, Kind, Setting, Status};
use super::source::{self, Origin, RawValue, Source};
use super::{
    AdminConfig, BlindPolicy, Config, ConfigErrors, LimitsConfig, LogConfig, LogFormat, ObjectNames,
    OrdersConfig, PositionsConfig, Problem, Provision, TraceConfig, TraceExporter, TradeUpdatesConfig,
    market_data, nats, parse, venue,
};

/// What was read, for people: whether or not it can be used.
#[derive(Debug)]
pub struct Inspection {
    /// The value of every setting.
    pub effective: Vec<Effective>,
    /// What was accepted but will not do what it seems to.
    pub warnings: Vec<String>,
    /// The configuration, or everything that is wrong with it.
    pub outcome: Result<Config, ConfigErrors>,
}

/// The value of one setting, fit to be shown.
#[derive(Debug)]
pub struct Effective {
    /// Which.
    pub setting: &'static Setting,
    /// Its value; a secret is only said to be there.
    pub shown: String,
    /// Where it came from.
    pub origin: Origin,
}

/// Reads and checks the configuration.
pub fn load(source: &dyn Source) -> Result<Config, ConfigErrors> {
    inspect(source).outcome
}

/// Reads and checks what is needed to reach NATS. What is wrong with the venue's settings does not matter: who
/// only provisions needs no keys.
pub fn load_for_nats(source: &dyn Source) -> Result<Config, ConfigErrors> {
    let (config, inspection) = read(source);
    let concerns_venue = |problem: &Problem| {
        ["ALPACA_", "APCA_", "LIVE_", "LIMITS_"]
            .iter()
            .any(|prefix| problem.name.starts_with(prefix))
    };
    match inspection.outcome {
        Ok(config) => Ok(config),
        Err(errors) if errors.problems.iter().all(concerns_venue) => Ok(config),
        Err(errors) => Err(ConfigErrors {
            problems: errors
                .problems
                .into_iter()
                .filter(|problem| !concerns_venue(problem))
                .collect(),
        }),
    }
}

/// Reads and checks the configuration, and keeps what was read.
pub fn inspect(source: &dyn Source) -> Inspection {
    read(source).1
}

/// The configuration as far as it could be read, and what there is to say about it.
fn read(source: &dyn Source) -> (Config, Inspection) {
    let raw = source::resolve(source);
    let mut effective: Vec<_> = raw.values.iter().map(Effective::of).collect();
    let mut warnings = raw.warnings;
    warnings.extend(without_effect(&raw.values));
    warnings.extend(unknown_names(&source.names()));
    let mut settings = Settings::parse(&raw.values, raw.problems);
    let mut config = build(&mut settings, source);
    warnings.append(&mut settings.warnings);
    config.warnings.clone_from(&warnings);
    // These two defaults are made here and not in the table.
    for (name, made) in [("INSTANCE", &config.instance), ("NATS_NAME", &config.nats.name)] {
        let is_made = |shown: &&mut Effective| shown.setting.name == name && shown.origin == Origin::Default;
        if let Some(shown) = effective.iter_mut().find(is_made) {
            shown.shown.clone_from(made);
        }
    }
    let outcome = if settings.problems.is_empty() {
        Ok(config.clone())
    } else {
        Err(ConfigErrors {
            problems: settings.problems,
        })
    };
    let inspection = Inspection {
        effective,
        warnings,
        outcome,
    };
    (config, inspection)
}

impl Effective {
    fn of(value: &RawValue) -> Self {
        let shown = if value.setting.secret && !value.text.is_empty() {
            "(secret)".to_owned()
        } else {
            without_user_info(&value.text)
        };
        Self {
            setting: value.setting,
            shown,
            origin: value.origin.clone(),
        }
    }
}

/// URLs without the credentials that may stand in them.
fn without_user_info(text: &str) -> String {
    let hide = |url: &str| match url.rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://(secret)@{host}"),
            None => format!("(secret)@{host}"),
        },
        None => url.to_owned(),
    };
    text.split(',').map(hide).collect::<Vec<_>>().join(",")
}

/// A parsed value.
enum Parsed {
    Absent,
    Text(String),
    List(Vec<String>),
    Switch(bool),
    Duration(Duration),
    Count(u64),
    IpAddress(IpAddr),
    Path(PathBuf),
    Choice(&'static str),
}

fn parse_as(kind: Kind, text: &str) -> Result<Parsed, String> {
    if text.is_empty() {
        return Ok(Parsed::Absent);
    }
    Ok(match kind {
        Kind::Text => Parsed::Text(parse::plain_text(text)?),
        Kind::SubjectPrefix => Parsed::Text(parse::subject_prefix(text)?),
        Kind::ObjectName => Parsed::Text(parse::object_name(text)?),
        Kind::List => Parsed::List(parse::list(&parse::plain_text(text)?)),
        Kind::Switch => Parsed::Switch(parse::switch(text)?),
        Kind::Duration { min, max } => Parsed::Duration(parse::bounded_duration(text, min, max)?),
        Kind::Count { min, max } => Parsed::Count(parse::count(text, min, max)?),
        Kind::IpAddress => Parsed::IpAddress(parse::ip_address(text)?),
        Kind::Path => Parsed::Path(PathBuf::from(parse::plain_text(text)?)),
        Kind::Choice(words) => Parsed::Choice(parse::choice(text, words)?),
    })
}

/// Every setting, parsed. Asking for a name that is not in the table, or by another kind, is a mistake of ours
/// that any load shows.
pub(super) struct Settings {
    parsed: BTreeMap<&'static str, (Parsed, bool)>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl Settings {
    fn parse(values: &[RawValue], mut problems: Vec<Problem>) -> Self {
        let mut parsed = BTreeMap::new();
        for RawValue {
            setting,
            text,
            origin,
        } in values
        {
            let given = *origin != Origin::Default;
            let value = parse_as(setting.kind, text).or_else(|what| {
                match setting.status {
                    Status::Used | Status::Later(_) => {
                        problems.push(Problem::new(name_of(setting, origin), what))
                    }
                    Status::Ignored(_) => {}
                }
                parse_as(setting.kind, setting.default)
            });
            let value = value.expect("defaults of the table parse, a test reads them all");
            parsed.insert(setting.name, (value, given));
        }
        Self {
            parsed,
            problems,
            warnings: Vec::new(),
        }
    }

    pub(super) fn problem(&mut self, name: &str, what: impl Into<String>) {
        self.problems.push(Problem::new(name, what));
    }

    /// Whether a value was given, rather than taken from the table.
    pub(super) fn is_given(&self, name: &str) -> bool {
        self.parsed.get(name).is_some_and(|(_, given)| *given)
    }

    fn get(&self, name: &str) -> &Parsed {
        match self.parsed.get(name) {
            Some((value, _)) => value,
            None => unreachable!("{name} is not in the table"),
        }
    }

    /// A text, if there is one.
    pub(super) fn optional_text(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Parsed::Text(text) => Some(text.clone()),
            Parsed::Absent => None,
            Parsed::List(_) | Parsed::Switch(_) | Parsed::Duration(_) | Parsed::Count(_) => mistaken(name),
            Parsed::IpAddress(_) | Parsed::Path(_) | Parsed::Choice(_) => mistaken(name),
        }
    }

    /// A text that has a default.
    pub(super) fn text(&self, name: &str) -> String {
        self.optional_text(name).unwrap_or_else(|| mistaken(name))
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Parsed::List(list) => list.clone(),
            Parsed::Absent => Vec::new(),
            Parsed::Text(_) | Parsed::Switch(_) | Parsed::Duration(_) | Parsed::Count(_) => mistaken(name),
            Parsed::IpAddress(_) | Parsed::Path(_) | Parsed::Choice(_) => mistaken(name),
        }
    }

    pub(super) fn switch(&self, name: &str) -> bool {
        let Parsed::Switch(on) = self.get(name) else {
            mistaken(name)
        };
        *on
    }

    pub(super) fn duration(&self, name: &str) -> Duration {
        let Parsed::Duration(duration) = self.get(name) else {
            mistaken(name)
        };
        *duration
    }

    /// A number; its bounds in the table make it fit.
    pub(super) fn count<T: TryFrom<u64>>(&self, name: &str) -> T {
        let Parsed::Count(count) = self.get(name) else {
            mistaken(name)
        };
        T::try_from(*count).unwrap_or_else(|_| mistaken(name))
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        match self.get(name) {
            Parsed::Path(path) => Some(path.clone()),
            Parsed::Absent => None,
            Parsed::Text(_) | Parsed::List(_) | Parsed::Switch(_) | Parsed::Duration(_) => mistaken(name),
            Parsed::Count(_) | Parsed::IpAddress(_) | Parsed::Choice(_) => mistaken(name),
        }
    }

    /// One of the words, or nothing when there is no default.
    pub(super) fn choice(&self, name: &str) -> &'static str {
        match self.get(name) {
            Parsed::Choice(word) => word,
            Parsed::Absent => "",
            Parsed::Text(_) | Parsed::List(_) | Parsed::Switch(_) | Parsed::Duration(_) => mistaken(name),
            Parsed::Count(_) | Parsed::IpAddress(_) | Parsed::Path(_) => mistaken(name),
        }
    }

    fn ip_address(&self, name: &str) -> IpAddr {
        let Parsed::IpAddress(address) = self.get(name) else {
            mistaken(name)
        };
        *address
    }
}

fn mistaken(name: &str) -> ! {
    unreachable!("{name} has another kind in the table")
}

/// The name that a person set, if a person set one.
fn name_of(setting: &Setting, origin: &Origin) -> String {
    match origin {
        Origin::Variable(name) | Origin::File { variable: name, .. } => name.clone(),
        Origin::Context(context) => format!("{} (context {context})", setting.name),
        Origin::Default => setting.name.to_owned(),
    }
}

fn build(settings: &mut Settings, source: &dyn Source) -> Config {
    let instance = instance(settings, source);
    let trade_updates = TradeUpdatesConfig {
        enabled: settings.switch("ENABLE_TRADE_UPDATER"),
    };
    let trade_updates_enabled = trade_updates.enabled;
    let alpaca = venue::build(settings);
    let market_data = market_data::build(settings, &alpaca);
    Config {
        prefix: settings.text("PREFIX"),
        nats: nats::build(settings, source, &instance),
        instance,
        objects: objects(settings),
        provision: match settings.choice("PROVISION") {
            "adopt" => Provision::Adopt,
            "verify" => Provision::Verify,
            "none" => Provision::None,
            _ => Provision::Create,
        },
        alpaca,
        orders: orders(settings, trade_updates.enabled),
        trade_updates,
        positions: PositionsConfig {
            refresh_interval: settings.duration("POSITIONS_REFRESH_INTERVAL"),
        },
        market_data,
        admin: admin(settings),
        log: log(settings),
        trace: trace(settings),
        shutdown_timeout: settings.duration("SHUTDOWN_TIMEOUT"),
        halt_file: settings.path("HALT_FILE"),
        limits: limits(settings, source, trade_updates_enabled),
        dry_run: settings.switch("DRY_RUN"),
        json_copies: settings.choice("DATA_ENCODING") == "json",
        warnings: Vec::new(),
    }
}

/// Reads the limits file, if there is one.
fn limits(settings: &mut Settings, source: &dyn Source, sees_updates: bool) -> Option<LimitsConfig> {
    let path = settings.path("LIMITS_FILE")?;
    let read = source
        .read(&path)
        .map_err(|error| format!("{}: {error}", path.display()));
    let limits = match read.map(|text| limits::read(&text)) {
        Ok(Ok(limits)) => limits,
        Ok(Err(error)) => {
            for wrong in error.0 {
                settings.problem("LIMITS_FILE", format!("{}: {wrong}", path.display()));
            }
            return None;
        }
        Err(what) => {
            settings.problem("LIMITS_FILE", what);
            return None;
        }
    };
    if !sees_updates && !limits.is_empty() {
        let what = "need the venue's trade updates, which tell what is open and what was filled; set ENABLE_TRADE_UPDATER=true";
        settings.problem("LIMITS_FILE, ENABLE_TRADE_UPDATER", what);
    }
    Some(LimitsConfig { path, limits })
}

/// Longest name of an instance: that of a host.
const INSTANCE_LEN_MAX: usize = 64;

fn instance(settings: &mut Settings, source: &dyn Source) -> String {
    let is_fit = |text: &str| {
        !text.is_empty() && text.len() <= INSTANCE_LEN_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if let Some(given) = settings.optional_text("INSTANCE") {
        if !is_fit(&given) {
            let what = format!(
                "{given:?} is no name; write 1 to {INSTANCE_LEN_MAX} visible ASCII characters without blanks"
            );
            settings.problem("INSTANCE", what);
        }
        return given;
    }
    let from_variable = source
        .variable("HOSTNAME")
        .and_then(|text| text.into_string().ok());
    from_variable
        .or_else(|| source.read("/etc/hostname".as_ref()).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| is_fit(text))
        .unwrap_or_else(|| "nalpaca".to_owned())
}

fn objects(settings: &mut Settings) -> ObjectNames {
    for group in [
        ["ACTION_STREAM", "DATA_STREAM", "JOURNAL_STREAM"].as_slice(),
        &["ORDER_CONSUMER", "CANCEL_CONSUMER"],
        &["NATS_KV_BUCKET", "ORDERS_BUCKET"],
    ] {
        for (at, name) in group.iter().enumerate() {
            for other in &group[at + 1..] {
                if settings.text(name) == settings.text(other) {
                    let what = format!("are both {:?}; give each its own name", settings.text(name));
                    settings.problem(&format!("{name}, {other}"), what);
                }
            }
        }
    }
    ObjectNames {
        action_stream: settings.text("ACTION_STREAM"),
        orders_consumer: settings.text("ORDER_CONSUMER"),
        cancel_consumer: settings.text("CANCEL_CONSUMER"),
        data_stream: settings.text("DATA_STREAM"),
        trade_update_consumer: settings.text("TRADE_UPDATE_CONSUMER"),
        journal_stream: settings.text("JOURNAL_STREAM"),
        bucket: settings.text("NATS_KV_BUCKET"),
        orders_bucket: settings.text("ORDERS_BUCKET"),
        replicas: settings.count("STREAM_REPLICAS"),
    }
}

fn orders(settings: &mut Settings, trade_updates: bool) -> OrdersConfig {
    let max_age = settings.duration("ORDER_MAX_AGE");
    let asked_to_hold = settings.choice("BLIND_POLICY") == "hold";
    if asked_to_hold && !trade_updates && settings.is_given("BLIND_POLICY") {
        let line = "BLIND_POLICY: hold has no effect while ENABLE_TRADE_UPDATER is false, orders pass";
        settings.warnings.push(line.to_owned());
    }
    OrdersConfig {
        enabled: settings.switch("ENABLE_ORDERS"),
        canceler_enabled: settings.switch("ENABLE_CANCELER"),
        max_age: (!max_age.is_zero()).then_some(max_age),
        max_in_flight: settings.count("ORDERS_MAX_IN_FLIGHT"),
        blind_policy: if asked_to_hold && trade_updates {
            BlindPolicy::Hold
        } else {
            BlindPolicy::Allow
        },
        cancel_late: settings.switch("CANCEL_LATE"),
    }
}

fn log(settings: &mut Settings) -> LogConfig {
    let filter = match settings.optional_text("RUST_LOG") {
        Some(directives) => {
            if let Err(error) = tracing_subscriber::EnvFilter::try_new(&directives) {
                settings.problem(
                    "RUST_LOG",
                    format!("{error}; write for example info,nalpaca=debug"),
                );
            }
            directives
        }
        None => match settings.choice("LOG_LEVEL") {
            // The libraries below us are as talkative as we are, and about nothing an operator asked for.
            level @ ("trace" | "debug" | "info") => format!("warn,nalpaca={level}"),
            "warning" => "warn".to_owned(),
            "err" => "error".to_owned(),
            level => level.to_owned(),
        },
    };
    LogConfig {
        filter,
        format: match settings.choice("LOG_FMT") {
            "text" => LogFormat::Text,
            "logfmt" => LogFormat::Logfmt,
            _ => LogFormat::Json,
        },
        source: settings.switch("LOG_SRC"),
    }
}

fn admin(settings: &mut Settings) -> AdminConfig {
    let listen = |port: &str| SocketAddr::new(settings.ip_address("METRICS_HOST"), settings.count(port));
    let metrics = (!settings.switch("DISABLE_METRICS")).then(|| listen("METRICS_PORT"));
    let health = (!settings.switch("DISABLE_HEALTH")).then(|| listen("HEALTH_PORT"));
    if metrics.is_some() && metrics == health {
        settings.problem("METRICS_PORT, HEALTH_PORT", "are one port; give each its own");
    }
    AdminConfig { metrics, health }
}

/// The collector's usual path, where an address names none.
const TRACES_PATH: &str = "/v1/traces";

fn trace(settings: &mut Settings) -> Option<TraceConfig> {
    let text = settings.optional_text("TRACE_EXPORTER_URL");
    let url = text.map(|text| match Url::parse(&text) {
        Ok(mut url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            if url.path() == "/" {
                url.set_path(TRACES_PATH);
            }
            Ok(url.to_string())
        }
        // The text is not repeated: it may have credentials inside.
        Ok(_) | Err(_) => Err("is no http or https URL; write for example http://localhost:4318"),
    });
    let url = match url.transpose() {
        Ok(url) => url.unwrap_or_else(|| format!("http://localhost:4318{TRACES_PATH}")),
        Err(what) => {
            settings.problem("TRACE_EXPORTER_URL", what);
            String::new()
        }
    };
    let config = TraceConfig {
        exporter: match settings.choice("TRACE_EXPORTER") {
            "stdout" => TraceExporter::Log,
            _ => TraceExporter::Otlp { url },
        },
        timeout: settings.duration("TRACE_EXPORTER_TIMEOUT"),
    };
    (!settings.switch("DISABLE_TRACING")).then_some(config)
}

/// One line per reason, with the settings that were given and will do nothing.
fn without_effect(values: &[RawValue]) -> Vec<String> {
    let mut names_by_reason: Vec<(&'static str, Vec<String>)> = Vec::new();
    for value in values {
        let reason = match value.setting.status {
            Status::Used => continue,
            Status::Later(reason) | Status::Ignored(reason) => reason,
        };
        // An environment file that lists every default asks for nothing.
        if value.origin == Origin::Default || value.text.eq_ignore_ascii_case(value.setting.default) {
            continue;
        }
        let name = name_of(value.setting, &value.origin);
        match names_by_reason.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, names)) => names.push(name),
            None => names_by_reason.push((reason, vec![name])),
        }
    }
    let line = |(reason, names): (&str, Vec<String>)| format!("{}: no effect: {reason}", names.join(", "));
    names_by_reason.into_iter().map(line).collect()
}

/// Variables that look as if they were meant for us.
fn unknown_names(names: &[String]) -> Vec<String> {
    let mut warnings = Vec::new();
    for name in names {
        let Some(rest) = name.strip_prefix("NALPACA_") else {
            continue;
        };
        if is_service_link(rest) {
            continue;
        }
        let nearest = settings::all()
            .map(|setting| setting.name)
            .min_by_key(|known| edit_distance(known, rest))
            .filter(|known| edit_distance(known, rest) <= rest.len() / 3);
        warnings.push(match nearest {
            Some(known) => format!("{name}: is not known, did you mean {known}?"),
            None => format!("{name}: is not known; `nalpaca config env` lists what is"),
        });
    }
    warnings.sort_unstable();
    warnings
}

/// Kubernetes puts `NALPACA_SERVICE_HOST`, `NALPACA_PORT_8088_TCP` and the like beside a service of our name.
fn is_service_link(rest: &str) -> bool {
    rest.contains("SERVICE_HOST")
        || rest.contains("SERVICE_PORT")
        || rest == "PORT"
        || rest.starts_with("PORT_")
        || rest.ends_with("_PORT")
        || rest.contains("_PORT_")
}

/// Levenshtein's distance between two ASCII texts.
fn edit_distance(left: &str, right: &str) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (at, symbol) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (column, other) in right.bytes().enumerate() {
            let substituted = diagonal + usize::from(symbol != other);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}
