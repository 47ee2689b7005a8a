//! The last check: asked when the connection is open, in the instant before the first byte of a request is written.
//!
//! Opening a connection may take seconds, and what was in time before it need not be after. The client asks for the
//! body of a request when it has a connection, and writes nothing before it has a piece of it; a body that is refused
//! is a request that never was (hyper 1, `proto::h1::dispatch`: the head waits in a buffer until the body was asked).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// Whether a request may still be sent. It may be asked at any time, and must not wait.
#[derive(Clone)]
pub struct LastCheck(Arc<dyn Fn() -> bool + Send + Sync>);

impl LastCheck {
    /// Asks this.
    pub fn new(may_be_sent: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(may_be_sent))
    }

    /// Asks.
    pub fn passes(&self) -> bool {
        (self.0)()
    }
}

/// The request was not sent, for its last check said no.
#[derive(Debug, thiserror::Error)]
#[error("the last check before the first byte said no")]
pub(super) struct Withheld;

/// A body that is there if the last check passes.
pub(super) struct CheckedBody {
    pub(super) bytes: Option<Bytes>,
    pub(super) check: LastCheck,
}

impl CheckedBody {
    /// No body at all.
    pub(super) fn nothing() -> Self {
        Self {
            bytes: None,
            check: LastCheck::new(|| true),
        }
    }
}

impl Body for CheckedBody {
    type Data = Bytes;
    type Error = Withheld;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Withheld>>> {
        let Some(bytes) = self.bytes.take() else {
            return Poll::Ready(None);
        };
        Poll::Ready(Some(if self.check.passes() {
            Ok(Frame::data(bytes))
        } else {
            Err(Withheld)
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    /// Exact, so that the request has a length and no chunks.
    fn size_hint(&self) -> SizeHint {
        let len = self.bytes.as_ref().map_or(0, Bytes::len);
        SizeHint::with_exact(u64::try_from(len).unwrap_or(u64::MAX))
    }
}

/// Whether a failed request was one whose last check said no.
pub(super) fn was_withheld(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |cause| cause.source()).any(|cause| cause.is::<Withheld>())
}
