//! `nalpaca bars`: bars of the past, through a running daemon, to standard output or into a folder.

use std::io::{self, IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::{Exit, block_on, nats, output};
use crate::archive::{Archive, ArchiveError, Format, Range, RowWriter, RowsError, Series};
use crate::backoff::Backoff;
use crate::bus::Connection;
use crate::bus::ask::{AskError, ask};
use crate::clock::Clock;
use crate::domain::history::{Adjustment, BarsQuestion, LIMIT_MAX, QuestionError, Timeframe, moment};
use crate::domain::market::{Bar, MarketClass};
use crate::domain::{AssetClass, Symbol};
use crate::wire::history::{Bars, PageRequest, read_reply, request};
use crate::wire::subject::Subjects;

/// The endpoint that is asked.
const ENDPOINT: &str = "bars.history";
/// Longest wait for one page. The daemon waits 10 s for the venue.
const PAGE_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a page that cannot be had is tried. The venue's quota is new each minute.
const TRIES_MAX: Duration = Duration::from_secs(300);
/// Pauses between those tries.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(20));
/// How often progress is shown on a terminal.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// How often it is told elsewhere.
const TELL_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
#[command(after_help = "\
A running daemon is asked, which asks Alpaca; this command needs NATS alone (NATS_URL and so on, as the daemon).
Without --to, rows go to standard output. With --to, they are kept in files, one for each month and symbol
(for each symbol, from 1Day on), and what is there is not fetched again:
  FOLDER/stocks/1Min/AAPL/2026-01.csv

Prices that are adjusted change with each split or dividend: the oldest bar of the folder is compared with the
venue's, and when it differs the symbol is fetched anew.

Examples:
  nalpaca bars AAPL --start 2026-11-02 --end 2026-11-07 > aapl.csv
  nalpaca bars AAPL MSFT --start 2016-01-01 --timeframe 1Day --adjustment all --to bars --format parquet
  nalpaca bars BTC/USD --start 2026-11-01 --to bars
  nalpaca sim --replay bars/stocks/1Min/AAPL/2026-11.csv")]
pub(super) struct Arguments {
    /// The symbols: AAPL, BTC/USD, AAPL261218C00200000. All of one kind.
    #[arg(required = true)]
    symbols: Vec<String>,
    /// First moment: a date (midnight in New York, of crypto in UTC), or 2026-11-02T14:30:00Z.
    #[arg(long)]
    start: String,
    /// First moment after; a date is not part of it. Default: now, as far as the data plan sees it.
    #[arg(long)]
    end: Option<String>,
    /// Length of a bar: 1Min to 59Min, 1Hour to 23Hour, 1Day, 1Week, 1Month.
    #[arg(long, default_value = "1Min")]
    timeframe: String,
    /// What prices are adjusted for: raw, split, dividend, spin-off, all, or several with commas. Stocks only.
    #[arg(long, default_value = "raw")]
    adjustment: String,
    /// Where bars are from: sip, iex, otc, boats; crypto: us, us-1, eu-1. Default: what the data plan has.
    #[arg(long, default_value = "")]
    feed: String,
    /// Form of the rows. Parquet needs --to.
    #[arg(long, value_enum, default_value_t = FormatName::Csv)]
    format: FormatName,
    /// Keep the rows in this folder.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// Fetch what is in the folder, too, and put it in its place.
    #[arg(long, requires = "to")]
    force: bool,
    /// Say nothing but what is wrong.
    #[arg(long, short)]
    quiet: bool,
    /// Seconds to wait for NATS.
    #[arg(long, default_value_t = 5)]
    timeout: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormatName {
    /// With a line of names.
    Csv,
    /// One JSON object each line.
    Jsonl,
    /// Compressed columns.
    Parquet,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Csv => Self::Csv,
            FormatName::Jsonl => Self::JsonLines,
            FormatName::Parquet => Self::Parquet,
        }
    }
}

/// Why it went no further.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("the daemon's answer cannot be read: {0}")]
    Answer(#[from] crate::wire::Unreadable),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the venue gives the same page again and again")]
    Circle,
    #[error("standard output: {0}")]
    Output(#[from] RowsError),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Ask(AskError::Refused(refused)) if refused.code == 400 => Exit::Usage,
            Self::Ask(AskError::Refused(refused)) if refused.code == 403 => Exit::Credentials,
            Self::Ask(_) | Self::Circle => Exit::Unavailable,
            // A reader that has seen enough is no failure.
            Self::Output(error) if is_broken_pipe(error) => Exit::Ok,
            Self::Answer(_) | Self::Archive(_) | Self::Output(_) => Exit::Internal,
        }
    }
}

fn is_broken_pipe(error: &RowsError) -> bool {
    let kind = match error {
        RowsError::Io(error) => Some(error.kind()),
        RowsError::Csv(error) => {
            if let csv::ErrorKind::Io(error) = error.kind() {
                Some(error.kind())
            } else {
                None
            }
        }
        RowsError::Json(error) => error.io_error_kind(),
        RowsError::Parquet(_) | RowsError::Row(_) => None,
    };
    kind == Some(io::ErrorKind::BrokenPipe)
}

pub(super) fn run(arguments: &Arguments) -> Exit {
    let config = match nats::settings("bars") {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let clock = Clock::system();
    let question = match question(arguments, clock.now()) {
        Ok(question) => question,
        Err(failure) => return failed(&failure),
    };
    let subjects = Subjects::new(config.prefix.clone());
    block_on(async {
        let patience = Duration::from_secs(arguments.timeout.max(1));
        let connection = match nats::connect("bars", &config, patience).await {
            Ok(connection) => connection,
            Err(exit) => return exit,
        };
        let mut fetch = Fetch {
            connection,
            subjects,
            clock,
            progress: Progress::new(arguments.quiet, question.symbols().len()),
        };
        let fetched = match &arguments.to {
            Some(folder) => keep(&mut fetch, &question, folder, arguments).await,
            None => print(&mut fetch, &question, arguments.format.into()).await,
        };
        fetch.progress.clear();
        match fetched {
            Ok(()) => Exit::Ok,
            Err(failure) => failed(&failure),
        }
    })
}

fn failed(failure: &Failure) -> Exit {
    let exit = failure.exit();
    if exit != Exit::Ok {
        output::complain(format_args!("nalpaca bars: {failure}"));
    }
    exit
}

/// What is asked for, checked before anything is connected to.
fn question(arguments: &Arguments, now: Timestamp) -> Result<BarsQuestion, Failure> {
    let usage = |error: QuestionError| Failure::Usage(error.to_string());
    if arguments.format == FormatName::Parquet && arguments.to.is_none() {
        return Err(Failure::Usage(
            "a Parquet file has its end at its end: name a folder with --to".to_owned(),
        ));
    }
    let mut symbols = Vec::new();
    for text in &arguments.symbols {
        let symbol = Symbol::parse(text);
        let symbol = symbol.map_err(|error| Failure::Usage(format!("{text:?}: {error}")))?;
        if !symbols.contains(&symbol) {
            symbols.push(symbol);
        }
    }
    let mut classes = symbols.iter().map(class_of);
    let class = classes.next().unwrap_or(MarketClass::Stocks);
    if let Some(other) = classes.find(|other| *other != class) {
        let (one, two) = (class.as_str(), other.as_str());
        return Err(Failure::Usage(format!(
            "{one} and {two} are asked for by two commands"
        )));
    }
    let from = moment("--start", &arguments.start, class).map_err(usage)?;
    let until = match &arguments.end {
        Some(text) => moment("--end", text, class).map_err(usage)?,
        None => now,
    };
    let timeframe = Timeframe::parse(&arguments.timeframe).map_err(usage)?;
    let adjustment = Adjustment::parse(&arguments.adjustment).map_err(usage)?;
    let range = (from, until);
    let question =
        BarsQuestion::new(class, symbols, timeframe, range, adjustment, &arguments.feed).map_err(usage)?;
    let open = arguments.end.is_none() || until >= now;
    Ok(if open { question.open_ended() } else { question })
}

/// By the form of a symbol.
pub(super) fn class_of(symbol: &Symbol) -> MarketClass {
    match symbol.asset_class() {
        AssetClass::UsEquity | AssetClass::Other => MarketClass::Stocks,
        AssetClass::Crypto => MarketClass::Crypto,
        AssetClass::UsOption => MarketClass::Options,
    }
}

/// Rows to standard output, as they come.
async fn print(fetch: &mut Fetch, question: &BarsQuestion, format: Format) -> Result<(), Failure> {
    let stdout = io::BufWriter::new(io::stdout().lock());
    let Some(mut rows) = RowWriter::new(format, stdout)? else {
        return Err(Failure::Usage("name a folder with --to".to_owned()));
    };
    for symbol in question.symbols() {
        let question = question.of(symbol);
        let mut page_token = String::new();
        loop {
            let (bars, next) = fetch.page(&question, LIMIT_MAX, page_token).await?;
            for bar in &bars {
                rows.row(bar)?;
            }
            rows.flush().map_err(RowsError::from)?;
            page_token = next;
            if page_token.is_empty() {
                break;
            }
        }
        fetch.progress.symbol_done();
    }
    Ok(())
}

/// Rows into a folder; what is there is left there.
async fn keep(
    fetch: &mut Fetch,
    question: &BarsQuestion,
    folder: &std::path::Path,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let archive = Archive::open(folder)?;
    let format = Format::from(arguments.format);
    for symbol in question.symbols() {
        let mut series = Series::open(&archive, question, symbol, format)?;
        let question = question.of(symbol);
        let (before, mut anew) = (fetch.progress.bars, "");
        if !arguments.force && is_adjusted_anew(fetch, &question, &series).await? {
            series.forget()?;
            anew = ", adjusted anew: all of it was fetched again";
        }
        let range = Range {
            from: question.from(),
            until: question.until(),
        };
        let missing = if arguments.force {
            vec![range]
        } else {
            series.missing(range)
        };
        for range in missing {
            if let Some(question) = question.within(range.from, range.until) {
                fill(fetch, &question, &mut series).await?;
            }
        }
        fetch.progress.symbol_done();
        fetch.progress.clear();
        if !arguments.quiet {
            let fetched = fetch.progress.bars - before;
            let place = series.folder().display();
            let line = format_args!("{} {fetched} bars fetched{anew}, {place}\n", symbol.as_str());
            output::answer(line);
        }
    }
    Ok(())
}

/// Fetches a stretch, and stores each page as it comes: whoever is stopped half-way goes on from there.
async fn fill(fetch: &mut Fetch, question: &BarsQuestion, series: &mut Series<'_>) -> Result<(), Failure> {
    let (mut from, mut page_token) = (question.from(), String::new());
    loop {
        let now = fetch.clock.now();
        let (bars, next) = fetch.page(question, LIMIT_MAX, page_token).await?;
        let until = match bars.last() {
            _ if next.is_empty() => question.until(),
            // The next page begins behind it.
            Some(bar) => bar
                .at
                .saturating_add(SignedDuration::from_nanos(1))
                .unwrap_or(bar.at),
            None => from,
        };
        series.store(Range { from, until }, &bars, now)?;
        if next.is_empty() {
            return Ok(());
        }
        (from, page_token) = (until, next);
    }
}

/// Whether the venue adjusts the past in another way than when it was fetched.
async fn is_adjusted_anew(
    fetch: &mut Fetch,
    question: &BarsQuestion,
    series: &Series<'_>,
) -> Result<bool, Failure> {
    if question.adjustment().is_raw() {
        return Ok(false);
    }
    let Some(held) = series.oldest()? else {
        return Ok(false);
    };
    let after = held
        .at
        .saturating_add(SignedDuration::from_secs(1))
        .unwrap_or(held.at);
    let Some(question) = question.within(held.at, after) else {
        return Ok(false);
    };
    let (bars, _) = fetch.page(&question, 1, String::new()).await?;
    fetch.progress.bars -= bars.len();
    let same = |bar: &Bar<'_>| bar.close == held.close && bar.open == held.open && bar.at == held.at;
    Ok(!bars.first().is_some_and(same))
}

/// Asks for pages, and tells how it goes.
struct Fetch {
    connection: Connection,
    subjects: Subjects,
    clock: Clock,
    progress: Progress,
}

impl Fetch {
    async fn page(
        &mut self,
        question: &BarsQuestion,
        limit: u32,
        page_token: String,
    ) -> Result<Bars, Failure> {
        let page = PageRequest {
            question: question.clone(),
            limit,
            page_token,
        };
        let began = Instant::now();
        let mut pauses = Backoff::between(PAUSES.0, PAUSES.1);
        loop {
            let question = request(&page);
            match ask(&self.connection, &self.subjects, ENDPOINT, question, PAGE_TIMEOUT).await {
                Ok(answer) => {
                    let (bars, next) = read_reply(&answer)?;
                    if !next.is_empty() && next == page.page_token {
                        return Err(Failure::Circle);
                    }
                    self.progress.page(&page, &bars);
                    return Ok((bars, next));
                }
                // A daemon that was never there does not come.
                Err(AskError::Nobody) if self.progress.pages == 0 => return Err(AskError::Nobody.into()),
                Err(error) if error.is_passing() && began.elapsed() < TRIES_MAX => {
                    self.progress.waits(&error);
                    tokio::time::sleep(pauses.next_delay()).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How it goes, on standard error: one line that changes on a terminal, a line now and then elsewhere.
struct Progress {
    quiet: bool,
    terminal: bool,
    symbols: usize,
    done: usize,
    pages: usize,
    bars: usize,
    shown: Option<Instant>,
    waiting: bool,
}

impl Progress {
    fn new(quiet: bool, symbols: usize) -> Self {
        Self {
            quiet,
            terminal: io::stderr().is_terminal(),
            symbols,
            done: 0,
            pages: 0,
            bars: 0,
            shown: None,
            waiting: false,
        }
    }

    fn page(&mut self, page: &PageRequest, bars: &[Bar<'_>]) {
        self.pages += 1;
        self.bars += bars.len();
        self.waiting = false;
        let every = if self.terminal { SHOW_EVERY } else { TELL_EVERY };
        let due = self.shown.is_none_or(|shown| shown.elapsed() >= every);
        // What is there at once needs no line in a log.
        let first_elsewhere = self.shown.is_none() && !self.terminal;
        if due {
            self.shown = Some(Instant::now());
        }
        if let Some(bar) = bars.last().filter(|_| due && !first_elsewhere) {
            let (number, of) = (self.done + 1, self.symbols);
            let (symbol, at, until) = (&bar.symbol, bar.at, page.question.until());
            let bars = self.bars;
            self.line(&format!(
                "{symbol} ({number} of {of}): at {at} of {until:.0}, {bars} bars"
            ));
        }
    }

    fn waits(&mut self, error: &AskError) {
        if !std::mem::replace(&mut self.waiting, true) || self.terminal {
            self.line(&format!("waiting: {error}"));
        }
    }

    fn symbol_done(&mut self) {
        self.done += 1;
    }

    fn line(&self, line: &str) {
        if self.quiet {
            return;
        }
        let mut to = io::stderr().lock();
        // Nobody is left to tell when this fails.
        let _ = if self.terminal {
            write!(to, "\r\x1b[2K{line}").and_then(|()| to.flush())
        } else {
            writeln!(to, "{line}")
        };
    }

    /// Makes room for something else on the line.
    fn clear(&self) {
        if self.terminal && self.shown.is_some() {
            self.line("");
        }
    }
}
