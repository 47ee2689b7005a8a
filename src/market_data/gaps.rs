//! Missed minute bars, from the market data API.

use std::collections::HashMap;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};

use super::recovery::{Gap, GapSource};
use crate::alpaca::data::History;
use crate::bus::broadcast::LAST_BUCKET;
use crate::bus::listen::last_stored;
use crate::bus::{Bucket, Connection};
use crate::clock::Clock;
use crate::domain::market::{Bar, Channel, MarketClass};
use crate::wire;
use crate::wire::subject::Subjects;

/// What lies further back is history, which is asked for and not told as news.
const REACH: SignedDuration = SignedDuration::from_hours(24);

/// Last values that are read at once.
const READS_AT_ONCE: usize = 64;

/// One class's past.
pub struct Gaps {
    /// Whom to ask.
    pub history: History,
    /// Which class.
    pub class: MarketClass,
    /// The feed's name.
    pub feed: String,
    /// Where last values are, and the bars themselves.
    pub connection: Connection,
    /// The stream of the bars.
    pub data_stream: String,
    /// How subjects are spelled.
    pub subjects: Subjects,
    /// What time it is.
    pub clock: Clock,
}

impl GapSource for Gaps {
    fn bars(&self, gaps: Vec<Gap>) -> BoxFuture<'static, Result<Vec<Bar<'static>>, String>> {
        let (history, class, feed) = (self.history.clone(), self.class, self.feed.clone());
        let earliest = self.clock.now().saturating_sub(REACH).unwrap_or_default();
        async move {
            let from = gaps
                .iter()
                .map(|gap| gap.from)
                .min()
                .unwrap_or_default()
                .max(earliest);
            let until = gaps.iter().map(|gap| gap.until).max().unwrap_or_default();
            if from >= until {
                return Ok(Vec::new());
            }
            let symbols: Vec<String> = gaps.iter().map(|gap| gap.symbol.clone()).collect();
            let mut bars = history
                .minute_bars(class, &feed, &symbols, from, until)
                .await
                .map_err(|error| error.to_string())?;
            let gaps: HashMap<&str, &Gap> = gaps.iter().map(|gap| (gap.symbol.as_str(), gap)).collect();
            bars.retain(|bar| {
                let gap = gaps.get(bar.symbol.as_ref());
                gap.is_some_and(|gap| gap.from <= bar.at && bar.at < gap.until)
            });
            Ok(bars)
        }
        .boxed()
    }

    fn newest(&self, symbols: Vec<String>) -> BoxFuture<'static, Result<HashMap<String, Timestamp>, String>> {
        let (connection, stream) = (self.connection.clone(), self.data_stream.clone());
        let (subjects, class) = (self.subjects.clone(), self.class);
        async move {
            let fail = |error: &dyn std::error::Error| error.to_string();
            // Kept in memory: after a restart of the server it may not be there.
            let bucket = Bucket::open(&connection, LAST_BUCKET).await.ok();
            let read = async |symbol: String| {
                let mut newest = None;
                if let Some(bucket) = &bucket {
                    let key = wire::subject::last_key(Channel::Bars, &symbol);
                    let entry = bucket.get(&key).await.map_err(|error| fail(&error))?;
                    newest = entry.and_then(|entry| wire::market::bar_time(&entry.value));
                }
                if newest.is_none() {
                    let subject = subjects.observation(class, Channel::Bars, &symbol);
                    let last = last_stored(&connection, &stream, &subject).await;
                    let last = last.map_err(|error| fail(&error))?;
                    newest = last.and_then(|bar| wire::market::bar_time(&bar));
                }
                Ok::<_, String>(newest.map(|at| (symbol, at)))
            };
            let reads: Vec<_> = symbols.into_iter().map(|symbol| read(symbol).boxed()).collect();
            let known: Vec<_> = stream::iter(reads)
                .buffer_unordered(READS_AT_ONCE)
                .try_collect()
                .await?;
            Ok(known.into_iter().flatten().collect())
        }
        .boxed()
    }
}
