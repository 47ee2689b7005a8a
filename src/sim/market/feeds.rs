//! Who is connected to which feed, and what befalls the feeds as a whole.

use std::collections::HashMap;

use tokio::sync::mpsc;

use super::super::fault::{StreamFault, Weather};
use super::super::route::Endpoint;
use super::feed::Feed;

/// Faults that wait for a session to notice them; more at once are not worth waiting for.
const FAULTS: usize = 64;

/// The market-data side of the world.
#[derive(Default)]
pub(crate) struct Feeds {
    /// Who is authenticated on a feed: one connection each.
    taken: HashMap<Feed, u64>,
    sessions: HashMap<u64, (Endpoint, mpsc::Sender<StreamFault>)>,
    weather: HashMap<Endpoint, Weather>,
    numbered: u64,
}

impl Feeds {
    /// A new connection: its number, and what it is to suffer at once.
    pub(crate) fn open(&mut self, endpoint: Endpoint) -> (u64, mpsc::Receiver<StreamFault>) {
        self.numbered += 1;
        let (strike, struck) = mpsc::channel(FAULTS);
        self.sessions.insert(self.numbered, (endpoint, strike));
        (self.numbered, struck)
    }

    /// Takes a feed's one place, unless somebody has it.
    pub(crate) fn take(&mut self, feed: Feed, session: u64) -> bool {
        *self.taken.entry(feed).or_insert(session) == session
    }

    pub(crate) fn close(&mut self, session: u64) {
        self.taken.retain(|_, holder| *holder != session);
        self.sessions.remove(&session);
    }

    /// Carries out a fault that needs no event, for everybody connected and the feeds as a whole.
    pub(crate) fn strike(&mut self, endpoint: Endpoint, fault: &StreamFault) {
        self.weather.entry(endpoint).or_default().strike(fault);
        for (of, strike) in self.sessions.values() {
            if *of == endpoint {
                // A session with that many faults before it has enough.
                let _ = strike.try_send(fault.clone());
            }
        }
    }

    pub(crate) fn refuses(&self, endpoint: Endpoint) -> bool {
        self.weather.get(&endpoint).is_some_and(Weather::refuses)
    }

    pub(crate) fn is_muted(&self, endpoint: Endpoint) -> bool {
        self.weather.get(&endpoint).is_some_and(Weather::is_muted)
    }
}
