//! Who waits for whom: commands that share a symbol begin in stream order, all others run side by side.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::domain::{ClientOrderId, Symbol};

/// Names above which finished ones are swept out.
const SWEEP_ABOVE: usize = 256;

/// What a line is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Line {
    Symbol(Symbol),
    /// Replaces of an order whose symbol nobody here knows.
    Order(ClientOrderId),
}

impl From<Symbol> for Line {
    fn from(symbol: Symbol) -> Self {
        Self::Symbol(symbol)
    }
}

/// The last place taken in each line.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    last: Mutex<HashMap<Line, CancellationToken>>,
}

/// A place in one or more lines. Dropping it lets the next one begin.
#[derive(Debug)]
pub(super) struct Place {
    ahead: Vec<CancellationToken>,
    _leave: DropGuard,
}

impl Lanes {
    /// Takes the next place in each line. Call it in stream order.
    ///
    /// Who comes later waits for who came earlier and never the other way round, so no circle can form.
    pub(super) fn join(&self, lines: &[Line]) -> Place {
        // Nothing panics while it holds the lock; were it so, the map would still be whole.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.len() > SWEEP_ABOVE {
            last.retain(|_, place| !place.is_cancelled());
        }
        let done = CancellationToken::new();
        let mut ahead = Vec::with_capacity(lines.len());
        for (at, line) in lines.iter().enumerate() {
            // Named twice, it would wait for itself.
            if !lines[..at].contains(line) {
                ahead.extend(last.insert(line.clone(), done.clone()));
            }
        }
        Place {
            ahead,
            _leave: done.drop_guard(),
        }
    }
}

impl Place {
    /// Waits until everybody ahead has left. Cancel-safe.
    pub(super) async fn turn(&self) {
        for ahead in &self.ahead {
            ahead.cancelled().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    fn symbols(names: &[&str]) -> Vec<Line> {
        names
            .iter()
            .map(|name| Symbol::parse(name).unwrap().into())
            .collect()
    }

    #[tokio::test]
    async fn a_shared_symbol_makes_a_line_and_nothing_else_does() {
        let lanes = Lanes::default();
        let first = lanes.join(&symbols(&["AAPL"]));
        let other = lanes.join(&symbols(&["MSFT"]));
        let both = lanes.join(&symbols(&["MSFT", "AAPL"]));
        let after = lanes.join(&symbols(&["AAPL"]));
        first.turn().await;
        other.turn().await;
        let mut both_turn = Box::pin(both.turn());
        let mut after_turn = Box::pin(after.turn());
        assert!(poll!(&mut both_turn).is_pending());
        drop(first);
        assert!(
            poll!(&mut both_turn).is_pending(),
            "it waits for every symbol it shares"
        );
        drop(other);
        assert!(poll!(&mut both_turn).is_ready());
        assert!(poll!(&mut after_turn).is_pending());
        drop(both_turn);
        drop(both);
        after_turn.await;
    }

    #[tokio::test]
    async fn a_symbol_named_twice_does_not_wait_for_itself() {
        let lanes = Lanes::default();
        lanes.join(&symbols(&["AAPL", "AAPL"])).turn().await;
    }

    #[tokio::test]
    async fn symbols_that_are_done_with_are_forgotten() {
        let lanes = Lanes::default();
        for number in 0..10 * SWEEP_ABOVE {
            drop(lanes.join(&symbols(&[&format!("S{number}")])));
        }
        let kept = lanes.last.lock().unwrap().len();
        assert!(kept <= SWEEP_ABOVE + 1, "{kept}");
    }
}
