//! What the orders of late trade, so that a replace, which does not say, finds its line.

use std::collections::{HashMap, VecDeque};

use crate::domain::{ClientOrderId, Symbol};

/// Orders remembered. Older ones are looked up in the ledger.
const KEPT: usize = 8192;

/// Symbols by client order id, the newest few thousand.
#[derive(Debug, Default)]
pub(super) struct SymbolsById {
    by_id: HashMap<ClientOrderId, Vec<Symbol>>,
    order: VecDeque<ClientOrderId>,
}

impl SymbolsById {
    /// Remembers what an order trades, and forgets the oldest.
    pub(super) fn remember(&mut self, id: ClientOrderId, symbols: Vec<Symbol>) {
        if self.by_id.insert(id.clone(), symbols).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.by_id.remove(&oldest);
            }
        }
    }

    /// What an order trades, if it is remembered.
    pub(super) fn of(&self, id: &ClientOrderId) -> Option<Vec<Symbol>> {
        self.by_id.get(id).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_remembered() {
        let mut symbols = SymbolsById::default();
        let id = |number: usize| ClientOrderId::parse(&format!("o{number}")).unwrap();
        let aapl = vec![Symbol::parse("AAPL").unwrap()];
        for number in 0..=KEPT {
            symbols.remember(id(number), aapl.clone());
        }
        assert_eq!(symbols.of(&id(0)), None);
        assert_eq!(symbols.of(&id(1)), Some(aapl.clone()));
        assert_eq!(symbols.of(&id(KEPT)), Some(aapl));
        assert_eq!((symbols.by_id.len(), symbols.order.len()), (KEPT, KEPT));
    }
}
