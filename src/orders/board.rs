//! Outcomes for whoever waits for one in this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::mpsc;

use crate::domain::Outcome;

/// Outcomes kept for one who waits. An id has a handful.
const KEPT: usize = 16;

/// Where outcomes are told. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Board(Arc<Mutex<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    by_id: HashMap<String, Vec<(u64, mpsc::Sender<Outcome>)>>,
    last: u64,
}

/// Waits for the outcomes of one client order id, from when it was made.
#[derive(Debug)]
pub struct Awaited {
    board: Board,
    client_order_id: String,
    number: u64,
    outcomes: mpsc::Receiver<Outcome>,
}

impl Board {
    /// Waits for the outcomes of a client order id.
    pub fn watch(&self, client_order_id: &str) -> Awaited {
        let (sender, outcomes) = mpsc::channel(KEPT);
        let mut waiting = self.waiting();
        waiting.last += 1;
        let number = waiting.last;
        let of_id = waiting.by_id.entry(client_order_id.to_owned()).or_default();
        of_id.push((number, sender));
        drop(waiting);
        Awaited {
            board: self.clone(),
            client_order_id: client_order_id.to_owned(),
            number,
            outcomes,
        }
    }

    /// Tells an outcome that is stored.
    pub(super) fn post(&self, outcome: &Outcome) {
        if let Some(waiting) = self.waiting().by_id.get(&outcome.client_order_id) {
            for (_, sender) in waiting {
                // Whoever lets so many of them lie is not waiting.
                let _ = sender.try_send(outcome.clone());
            }
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awaited {
    /// The next outcome. Cancel-safe.
    pub async fn next(&mut self) -> Option<Outcome> {
        self.outcomes.recv().await
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut waiting = self.board.waiting();
        if let Some(of_id) = waiting.by_id.get_mut(&self.client_order_id) {
            of_id.retain(|(number, _)| *number != self.number);
            if of_id.is_empty() {
                waiting.by_id.remove(&self.client_order_id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::{CommandId, CommandKind, Verdict};

    #[tokio::test]
    async fn whoever_waits_hears_of_its_own_id_and_nobody_is_remembered_afterwards() {
        let board = Board::default();
        let outcome = |id: &str| Outcome {
            client_order_id: id.to_owned(),
            command: CommandKind::Order,
            id: CommandId {
                stream_created: Timestamp::UNIX_EPOCH,
                sequence: 1,
            },
            stored_at: Timestamp::UNIX_EPOCH,
            at: Timestamp::UNIX_EPOCH,
            deadline: None,
            attempts: 0,
            verdict: Verdict::Expired,
            repeated: false,
        };
        let (mut first, second) = (board.watch("a"), board.watch("a"));
        board.post(&outcome("b"));
        board.post(&outcome("a"));
        assert_eq!(
            first.next().await.map(|told| told.client_order_id).as_deref(),
            Some("a")
        );
        drop(first);
        assert_eq!(board.waiting().by_id.len(), 1);
        drop(second);
        assert!(board.waiting().by_id.is_empty());
    }
}
