//! Last values on their way to their bucket: of what changes more often than they are written, the newest.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

/// A value and its schema.
type Value = (Bytes, &'static str);

/// Values that are not written yet, by their keys.
///
/// They come in two lots: one that is filled, and one that is written, a few at a time. So no key is written more often than lots
/// change, and ten thousand of them are no burst that everything else would wait for.
#[derive(Default)]
pub(super) struct LastValues {
    filling: HashMap<Arc<str>, Value>,
    due: HashMap<Arc<str>, Value>,
    order: VecDeque<Arc<str>>,
}

impl LastValues {
    /// A newer value of a key.
    pub(super) fn put(&mut self, key: &Arc<str>, payload: &Bytes, schema: &'static str) {
        let value = (payload.clone(), schema);
        // Not the entry interface: it would count the key's owners each time.
        if let Some(known) = self.filling.get_mut(key) {
            *known = value;
        } else {
            self.filling.insert(Arc::clone(key), value);
        }
    }

    /// Everything there is may be written now.
    pub(super) fn turn(&mut self) {
        for (key, value) in self.filling.drain() {
            if self.due.insert(Arc::clone(&key), value).is_none() {
                self.order.push_back(key);
            }
        }
    }

    /// Whether something is to be written.
    pub(super) fn is_due(&self) -> bool {
        !self.order.is_empty()
    }

    /// The key that has waited longest, and its newest value.
    pub(super) fn next(&mut self) -> Option<(Arc<str>, Value)> {
        let key = self.order.pop_front()?;
        let value = self.due.remove(&key)?;
        Some((key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_written_once_a_turn_with_its_newest_value_and_the_oldest_first() {
        let mut last = LastValues::default();
        let put = |last: &mut LastValues, key: &str, value: &'static str| {
            last.put(&key.into(), &Bytes::from_static(value.as_bytes()), "schema");
        };
        put(&mut last, "a", "1");
        put(&mut last, "a", "2");
        assert!(!last.is_due() && last.next().is_none(), "not before its turn");
        last.turn();
        put(&mut last, "b", "1");
        put(&mut last, "a", "3");
        last.turn();
        last.turn();
        let mut written = Vec::new();
        while let Some((key, (value, _))) = last.next() {
            written.push((key.to_string(), value));
        }
        assert_eq!(
            written,
            [("a".to_owned(), "3".into()), ("b".to_owned(), "1".into())]
        );
        assert!(!last.is_due());
    }
}
