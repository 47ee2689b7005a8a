//! How far the drop copy has come, as the bucket keeps it.
//!
//! The value of the key `watermark` is text: an RFC 3339 instant of the venue's clock on the first line, and on each
//! further line an order that lived then: its id, a space, and how much of it was filled. Everything that happened up
//! to the instant is published, except what may have come out of order within [`OVERLAP`]. The orders are there
//! because the venue lists orders by when they were submitted: an old one that ends while nobody listens is found by
//! its id only.

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use rust_decimal::Decimal;

use crate::domain::OrderId;
use crate::trial::{self, Bug};

/// The key.
pub(super) const KEY: &str = "watermark";

/// How far before the watermark a back-fill begins: events may be published and booked out of order.
pub(super) const OVERLAP: SignedDuration = SignedDuration::from_mins(5);

/// Orders kept in the value, oldest first: about 400 KB, below the usual largest message of 1 MB. Beyond that an old
/// order's end in a gap across a restart may be told late, when it is heard of again.
const LIVE_MAX: usize = 10_000;

/// How far the drop copy has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Watermark {
    /// By the venue's clock.
    pub(super) at: Timestamp,
    /// Orders that lived then, and how much of each was filled.
    pub(super) live: Vec<(OrderId, Decimal)>,
}

impl Watermark {
    /// Where a back-fill begins.
    pub(super) fn since(&self) -> Timestamp {
        if trial::planted(Bug::CursorBeforePublish) {
            return self.at;
        }
        self.at.saturating_sub(OVERLAP).unwrap_or(Timestamp::MIN)
    }

    /// The value of the key.
    pub(super) fn write(&self) -> Bytes {
        let live = self.live.iter().take(LIVE_MAX);
        let lines = live.map(|(id, filled)| format!("\n{id} {filled}"));
        let mut text = self.at.to_string();
        text.extend(lines);
        text.into()
    }

    /// Reads the value of the key. `None`: nobody can have written this.
    pub(super) fn read(value: &[u8]) -> Option<Self> {
        let mut lines = std::str::from_utf8(value).ok()?.lines();
        let at = lines.next()?.parse().ok()?;
        let live = lines.map(read_live).collect::<Option<Vec<_>>>()?;
        Some(Self { at, live })
    }
}

fn read_live(line: &str) -> Option<(OrderId, Decimal)> {
    let (id, filled) = line.split_once(' ')?;
    Some((OrderId::parse(id)?, filled.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watermark_is_read_as_it_was_written_and_nothing_else_is() {
        let id = OrderId::parse("904837e3-3b76-47ec-b432-046db621571b").unwrap();
        let (some, none) = (Decimal::new(15, 1), Decimal::ZERO);
        for live in [vec![], vec![(id, some)], vec![(id, none), (id, some)]] {
            let at = "2026-11-20T13:30:00.123456789Z".parse().unwrap();
            let mark = Watermark { at, live };
            assert_eq!(Watermark::read(&mark.write()), Some(mark));
        }
        for wrong in [
            "",
            "yesterday",
            "2026-11-20T13:30:00Z\nnot-an-id 0",
            "2026-11-20T13:30:00Z\n904837e3-3b76-47ec-b432-046db621571b",
            "1795181400",
        ] {
            assert_eq!(Watermark::read(wrong.as_bytes()), None, "{wrong}");
        }
        assert_eq!(Watermark::read(b"\xff"), None);
    }

    #[test]
    fn the_value_stays_below_the_largest_message() {
        let live = (0..20_000)
            .map(|n| {
                (
                    OrderId::from_uuid(uuid::Uuid::from_u128(n)),
                    Decimal::new(123_456, 3),
                )
            })
            .collect();
        let at = Timestamp::UNIX_EPOCH;
        let value = Watermark { at, live }.write();
        assert!(value.len() < 500_000);
        assert_eq!(
            Watermark::read(&value).map(|mark| mark.live.len()),
            Some(LIVE_MAX)
        );
    }
}
