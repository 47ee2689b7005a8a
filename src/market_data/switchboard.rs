//! What is wanted, by whom: the settings name what is always on, programs ask for more while the daemon runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::feed::{FeedStatus, Pulse};
use crate::domain::market::{Channel, MarketClass, Subscriptions};

/// Longest wait for the venue's word about a change.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(12);

/// The one place where wishes are changed. Clones share it, also between threads.
#[derive(Clone, Debug, Default)]
pub struct Switchboard {
    lines: Arc<BTreeMap<MarketClass, Line>>,
}

#[derive(Debug)]
struct Line {
    always: Subscriptions,
    asked: Mutex<Subscriptions>,
    /// What somebody listens to.
    followed: Mutex<Subscriptions>,
    wanted: watch::Sender<Subscriptions>,
    status: watch::Sender<FeedStatus>,
    pulse: Arc<Pulse>,
}

impl Line {
    fn asked(&self) -> MutexGuard<'_, Subscriptions> {
        // Nothing panics while it holds the lock.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says anew what is wanted.
    fn tell(&self) {
        let mut wanted = self.always.clone();
        let followed = self
            .followed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for more in [self.asked().clone(), followed] {
            for (channel, symbols) in more.iter() {
                wanted.add(channel, symbols.iter().cloned());
            }
        }
        self.wanted.send_if_modified(|known| {
            let changed = *known != wanted;
            *known = wanted;
            changed
        });
    }
}

/// Why a wish cannot be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WishError {
    /// The class has no stream here.
    #[error("{} are switched off here; set {variable}=true", class.as_str())]
    Off {
        /// Which.
        class: MarketClass,
        /// What switches it on.
        variable: &'static str,
    },
    /// The settings name the symbol.
    #[error("{symbol} is always on by the settings; take it out of {variable}")]
    Always {
        /// Which.
        symbol: String,
        /// What names it.
        variable: &'static str,
    },
}

impl Switchboard {
    /// One line for each class that is switched on, with what is always on.
    pub fn new(always: impl IntoIterator<Item = (MarketClass, Subscriptions)>) -> Self {
        let line = |(class, always): (MarketClass, Subscriptions)| {
            let line = Line {
                wanted: watch::Sender::new(always.clone()),
                asked: Mutex::default(),
                followed: Mutex::default(),
                status: watch::Sender::default(),
                pulse: Arc::default(),
                always,
            };
            (class, line)
        };
        Self {
            lines: Arc::new(always.into_iter().map(line).collect()),
        }
    }

    /// What the feed of a class follows, and where it says how it goes.
    pub fn line(
        &self,
        class: MarketClass,
    ) -> Option<(watch::Receiver<Subscriptions>, watch::Sender<FeedStatus>)> {
        let line = self.lines.get(&class)?;
        Some((line.wanted.subscribe(), line.status.clone()))
    }

    /// Where the feed of a class notes that it heard something.
    pub fn pulse(&self, class: MarketClass) -> Arc<Pulse> {
        self.lines
            .get(&class)
            .map(|line| line.pulse.clone())
            .unwrap_or_default()
    }

    /// One for each class, to be told of every change of how it goes.
    pub fn watch(&self) -> Vec<watch::Receiver<FeedStatus>> {
        self.lines.values().map(|line| line.status.subscribe()).collect()
    }

    /// Whether all of these can be changed.
    pub fn check(&self, wishes: &[(MarketClass, Channel, Vec<String>)], add: bool) -> Result<(), WishError> {
        for (class, channel, symbols) in wishes {
            let Some(line) = self.lines.get(class) else {
                let (class, variable) = (*class, switch(*class));
                return Err(WishError::Off { class, variable });
            };
            let always: Vec<&str> = line.always.of(*channel).collect();
            let fixed = symbols.iter().find(|symbol| always.contains(&symbol.as_str()));
            if let Some(symbol) = fixed.filter(|_| !add) {
                return Err(WishError::Always {
                    symbol: symbol.clone(),
                    variable: list(*class),
                });
            }
        }
        Ok(())
    }

    /// Adds or removes wishes. What is there, or is not, stays so.
    pub fn change(&self, wishes: &[(MarketClass, Channel, Vec<String>)], add: bool) {
        for (class, channel, symbols) in wishes {
            let Some(line) = self.lines.get(class) else {
                continue;
            };
            if add {
                line.asked().add(*channel, symbols.iter().cloned());
            } else {
                line.asked().remove(*channel, symbols.iter().map(String::as_str));
            }
            line.tell();
        }
    }

    /// Wants, besides all that, what somebody listens to, and nothing any more of what was listened to before.
    pub fn follow(&self, listened: impl Iterator<Item = (MarketClass, Channel, String)>) {
        let mut followed: BTreeMap<MarketClass, Subscriptions> = BTreeMap::new();
        for (class, channel, symbol) in listened {
            followed.entry(class).or_default().add(channel, [symbol]);
        }
        for (class, line) in self.lines.iter() {
            let followed = followed.remove(class).unwrap_or_default();
            *line.followed.lock().unwrap_or_else(PoisonError::into_inner) = followed;
            line.tell();
        }
    }

    /// What programs asked for, to be kept.
    pub fn asked(&self) -> Vec<(MarketClass, Subscriptions)> {
        let asked = self
            .lines
            .iter()
            .map(|(class, line)| (*class, line.asked().clone()));
        asked.filter(|(_, asked)| !asked.is_empty()).collect()
    }

    /// How each class goes.
    pub fn status(&self) -> Vec<(MarketClass, FeedStatus)> {
        let status = self
            .lines
            .iter()
            .map(|(class, line)| (*class, line.status.borrow().clone()));
        status.collect()
    }

    /// Waits until the venue has said its word about these, or for a few seconds. True: it has.
    pub async fn settled(&self, wishes: &[(MarketClass, Channel, Vec<String>)], add: bool) -> bool {
        let all = async {
            for (class, channel, symbols) in wishes {
                let Some(line) = self.lines.get(class) else {
                    continue;
                };
                let mut status = line.status.subscribe();
                let wanted = line.wanted.borrow().clone();
                let answered = |status: &FeedStatus| {
                    let confirmed: Vec<&str> = status.confirmed.of(*channel).collect();
                    symbols.iter().all(|symbol| {
                        let there = confirmed.contains(&symbol.as_str());
                        let refused = status
                            .refused
                            .iter()
                            .any(|(of, refused, _)| of == channel && refused == symbol);
                        let still_wanted = wanted.of(*channel).any(|known| known == symbol);
                        if add || still_wanted {
                            there || refused
                        } else {
                            !there
                        }
                    })
                };
                // Its sender is ours.
                let _ = status.wait_for(answered).await;
            }
        };
        tokio::time::timeout(ANSWER_TIMEOUT, all).await.is_ok()
    }
}

const fn switch(class: MarketClass) -> &'static str {
    match class {
        MarketClass::Stocks => "ENABLE_STOCK_STREAM",
        MarketClass::Crypto => "ENABLE_CRYPTO_STREAM",
        MarketClass::Options => "ENABLE_OPTION_STREAM",
        MarketClass::News => "ENABLE_NEWS_STREAM",
    }
}

const fn list(class: MarketClass) -> &'static str {
    match class {
        MarketClass::Stocks => "STOCK_STREAM_SYMBOLS",
        MarketClass::Crypto => "CRYPTO_STREAM_SYMBOLS",
        MarketClass::Options => "OPTION_STREAM_SYMBOLS",
        MarketClass::News => "NEWS_STREAM_SYMBOLS",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(symbols: &[&str]) -> Vec<(MarketClass, Channel, Vec<String>)> {
        let symbols = symbols.iter().map(|symbol| (*symbol).to_owned()).collect();
        vec![(MarketClass::Stocks, Channel::Bars, symbols)]
    }

    fn board() -> Switchboard {
        let mut always = Subscriptions::default();
        always.add(Channel::Bars, ["SPY".to_owned()]);
        Switchboard::new([(MarketClass::Stocks, always)])
    }

    #[test]
    fn wishes_are_added_to_what_is_always_on_and_taken_away_again() {
        let board = board();
        let (wanted, _status) = board.line(MarketClass::Stocks).unwrap();
        let symbols = || {
            wanted
                .borrow()
                .of(Channel::Bars)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        board.change(&wish(&["AAPL", "SPY"]), true);
        board.change(&wish(&["AAPL"]), true);
        assert_eq!(symbols(), ["AAPL", "SPY"]);
        board.change(&wish(&["AAPL", "TSLA"]), false);
        assert_eq!(symbols(), ["SPY"]);
        let error = board.check(&wish(&["SPY"]), false).unwrap_err().to_string();
        assert!(error.contains("STOCK_STREAM_SYMBOLS"), "{error}");
        let coins = [(MarketClass::Crypto, Channel::Bars, vec!["BTC/USD".to_owned()])];
        let error = board.check(&coins, true).unwrap_err().to_string();
        assert!(error.contains("ENABLE_CRYPTO_STREAM=true"), "{error}");
    }

    #[test]
    fn what_somebody_listens_to_is_wanted_for_as_long_as_they_do() {
        let board = board();
        let (wanted, _status) = board.line(MarketClass::Stocks).unwrap();
        let symbols = || {
            wanted
                .borrow()
                .of(Channel::Bars)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        board.change(&wish(&["AAPL"]), true);
        let listened = (MarketClass::Stocks, Channel::Bars, "MSFT".to_owned());
        board.follow([listened].into_iter());
        assert_eq!(symbols(), ["AAPL", "MSFT", "SPY"]);
        assert_eq!(board.asked().len(), 1, "it is not kept");
        board.follow([].into_iter());
        assert_eq!(symbols(), ["AAPL", "SPY"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_settled_when_the_venue_has_said_its_word() {
        let board = board();
        let (_wanted, status) = board.line(MarketClass::Stocks).unwrap();
        let change = wish(&["AAPL", "NOPE"]);
        board.change(&change, true);
        assert!(!board.settled(&change, true).await, "nobody has said anything");
        status.send_modify(|status| {
            status.confirmed.add(Channel::Bars, ["AAPL".to_owned()]);
            status
                .refused
                .push((Channel::Bars, "NOPE".to_owned(), "invalid (400)".to_owned()));
        });
        assert!(board.settled(&change, true).await);
        board.change(&wish(&["AAPL"]), false);
        assert!(
            !board.settled(&wish(&["AAPL"]), false).await,
            "it is still confirmed"
        );
        status.send_modify(|status| status.confirmed = Subscriptions::default());
        assert!(board.settled(&wish(&["AAPL"]), false).await);
    }
}
