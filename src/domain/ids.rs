//! Names of orders: ours and the venue's.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The publisher's name for an order, and our idempotency key at the venue (FIX ClOrdID).
///
/// Invariant: 1 to 128 bytes of visible ASCII (0x21 to 0x7E). How it is spelled in a subject or a key-value
/// key is `wire::subject`'s business. Source of the length: Alpaca Trading API, create order.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientOrderId(Arc<str>);

/// Why a text is no client order id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientOrderIdError {
    /// Empty, or longer than [`ClientOrderId::LEN_MAX`].
    #[error("client order id has {len} bytes, it must have 1 to {max}", max = ClientOrderId::LEN_MAX)]
    Length {
        /// Bytes given.
        len: usize,
    },
    /// A byte outside visible ASCII.
    #[error("client order id has a character outside visible ASCII at byte {at}")]
    Character {
        /// Offset of the byte.
        at: usize,
    },
}

impl ClientOrderId {
    /// Longest id the venue takes, in bytes.
    pub const LEN_MAX: usize = 128;

    /// Checks an id that came with a command.
    pub fn parse(text: &str) -> Result<Self, ClientOrderIdError> {
        if text.is_empty() || text.len() > Self::LEN_MAX {
            return Err(ClientOrderIdError::Length { len: text.len() });
        }
        match text.bytes().position(|byte| !byte.is_ascii_graphic()) {
            Some(at) => Err(ClientOrderIdError::Character { at }),
            None => Ok(Self(text.into())),
        }
    }

    /// The id as text, dots and all.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientOrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The venue's name for an order: a UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OrderId(Uuid);

impl OrderId {
    /// Reads the hyphenated form the venue writes; anything else is `None`.
    pub fn parse(text: &str) -> Option<Self> {
        // Uuid::parse_str also takes braces, URNs and bare hex, which the venue's paths do not.
        (text.len() == 36)
            .then(|| Uuid::parse_str(text).ok())
            .flatten()
            .map(Self)
    }

    /// Wraps a UUID.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid)
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_hold_visible_ascii_of_bounded_length() {
        assert!(ClientOrderId::parse("momentum.2026-11-20/1").is_ok());
        assert!(ClientOrderId::parse(&"x".repeat(128)).is_ok());
        assert_eq!(
            ClientOrderId::parse(""),
            Err(ClientOrderIdError::Length { len: 0 })
        );
        assert_eq!(
            ClientOrderId::parse(&"x".repeat(129)),
            Err(ClientOrderIdError::Length { len: 129 })
        );
        assert_eq!(
            ClientOrderId::parse("a b"),
            Err(ClientOrderIdError::Character { at: 1 })
        );
        assert_eq!(
            ClientOrderId::parse("a\u{e9}"),
            Err(ClientOrderIdError::Character { at: 1 })
        );
        assert_eq!(
            ClientOrderId::parse("a\r"),
            Err(ClientOrderIdError::Character { at: 1 })
        );
    }

    #[test]
    fn order_ids_are_hyphenated_uuids_only() {
        let text = "904837e3-3b76-47ec-b432-046db621571b";
        assert_eq!(
            OrderId::parse(text).map(|id| id.to_string()).as_deref(),
            Some(text)
        );
        for wrong in [
            "904837e33b7647ecb432046db621571b",
            "{904837e3-3b76-47ec-b432-046db621571b}",
            "ALL",
            "",
        ] {
            assert_eq!(OrderId::parse(wrong), None, "{wrong}");
        }
    }
}
