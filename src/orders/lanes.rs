//! Who waits for whom: orders that share a symbol begin in stream order, all others run side by side.

use std::collections::HashMap;

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::domain::Symbol;

/// Names above which finished ones are swept out.
const SWEEP_ABOVE: usize = 256;

/// The last place taken in each symbol's line.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    last: HashMap<Symbol, CancellationToken>,
}

/// A place in the lines of one or more symbols. Dropping it lets the next one begin.
#[derive(Debug)]
pub(super) struct Place {
    ahead: Vec<CancellationToken>,
    _leave: DropGuard,
}

impl Lanes {
    /// Takes the next place in the line of every symbol. Call it in stream order.
    ///
    /// Who comes later waits for who came earlier and never the other way round, so no circle can form.
    pub(super) fn join(&mut self, symbols: &[Symbol]) -> Place {
        if self.last.len() > SWEEP_ABOVE {
            self.last.retain(|_, place| !place.is_cancelled());
        }
        let done = CancellationToken::new();
        let ahead = symbols
            .iter()
            .filter_map(|symbol| self.last.insert(symbol.clone(), done.clone()))
            .collect();
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

    fn symbols(names: &[&str]) -> Vec<Symbol> {
        names.iter().map(|name| Symbol::parse(name).unwrap()).collect()
    }

    #[tokio::test]
    async fn a_shared_symbol_makes_a_line_and_nothing_else_does() {
        let mut lanes = Lanes::default();
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
    async fn symbols_that_are_done_with_are_forgotten() {
        let mut lanes = Lanes::default();
        for number in 0..10 * SWEEP_ABOVE {
            drop(lanes.join(&symbols(&[&format!("S{number}")])));
        }
        assert!(lanes.last.len() <= SWEEP_ABOVE + 1, "{}", lanes.last.len());
    }
}
