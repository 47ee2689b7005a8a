//! What the drop copy needs of the venue and of NATS, and no more. Tests put scripted ones behind it.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;

use super::watermark;
use crate::alpaca::Lane;
use crate::alpaca::rest::{Client, LookUpAnswer, ReadError};
use crate::alpaca::stream::{self, ConnectError, Connection, Heard, StreamEnd, StreamEndpoint};
use crate::bus::{Bucket, BucketError, Journal, PublishError, Told};
use crate::clock::Clock;
use crate::domain::{ExecutionReport, FillActivity, Order, OrderId};

/// Why something must be tried again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{cause}")]
pub(super) struct Trouble {
    /// Why, for people.
    pub(super) cause: String,
    /// The venue asks for a pause; at most a minute.
    pub(super) retry_after: Option<Duration>,
}

impl Trouble {
    pub(super) fn new(cause: impl ToString) -> Self {
        Self {
            cause: cause.to_string(),
            retry_after: None,
        }
    }
}

impl From<ReadError> for Trouble {
    fn from(error: ReadError) -> Self {
        let cause = error.to_string();
        let retry_after = match error {
            ReadError::AccountRefused(_) => None,
            ReadError::Failed { retry_after, .. } => retry_after,
        };
        Self { cause, retry_after }
    }
}

impl From<PublishError> for Trouble {
    fn from(error: PublishError) -> Self {
        Self::new(error)
    }
}

impl From<BucketError> for Trouble {
    fn from(error: BucketError) -> Self {
        Self::new(error)
    }
}

/// A stream the venue has acknowledged.
pub(super) trait Stream: Send {
    /// The next thing it says, or why it ended. Cancel-safe.
    fn next(&mut self) -> impl Future<Output = Result<Heard, StreamEnd>> + Send;
}

/// What tells of orders: a stream without memory, and a memory to ask.
pub(super) trait Venue: Send + Sync {
    /// An acknowledged stream.
    type Stream: Stream;

    /// Returns once the venue listens. Bounded in time.
    fn connect(&self) -> impl Future<Output = Result<Self::Stream, ConnectError>> + Send;

    /// The venue's own time.
    fn now(&self) -> impl Future<Output = Result<Timestamp, Trouble>> + Send;

    /// Orders submitted after an instant, oldest first.
    fn orders_since(&self, after: Timestamp) -> impl Future<Output = Result<Vec<Order>, Trouble>> + Send;

    /// Orders that are open, oldest first.
    fn open_orders(&self) -> impl Future<Output = Result<Vec<Order>, Trouble>> + Send;

    /// Fills after an instant.
    fn fills_since(
        &self,
        after: Timestamp,
    ) -> impl Future<Output = Result<Vec<FillActivity>, Trouble>> + Send;

    /// One order.
    fn order(&self, id: OrderId) -> impl Future<Output = Result<Option<Order>, Trouble>> + Send;
}

/// Where order events are kept, and how far they have come.
pub(super) trait Store: Send + Sync {
    /// Publishes an event under its identity behind the order's message `last`; back with its sequence once it is
    /// stored. `None`: that is not the order's last message.
    fn publish(
        &self,
        report: &ExecutionReport,
        last: u64,
    ) -> impl Future<Output = Result<Option<u64>, Trouble>> + Send;

    /// What was published of an order.
    fn published(&self, client_order_id: &str) -> impl Future<Output = Result<Told, Trouble>> + Send;

    /// When the last event that was published happened. `None`: none was.
    fn last_published_at(&self) -> impl Future<Output = Result<Option<Timestamp>, Trouble>> + Send;

    /// The watermark as it was written last.
    fn watermark(&self) -> impl Future<Output = Result<Option<Bytes>, Trouble>> + Send;

    /// Writes the watermark.
    fn set_watermark(&self, value: Bytes) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// The real venue.
#[derive(Debug)]
pub(super) struct Alpaca {
    pub(super) endpoint: StreamEndpoint,
    pub(super) client: Client,
    pub(super) clock: Clock,
}

impl Stream for Connection {
    async fn next(&mut self) -> Result<Heard, StreamEnd> {
        Self::next(self).await
    }
}

impl Venue for Alpaca {
    type Stream = Connection;

    async fn connect(&self) -> Result<Connection, ConnectError> {
        stream::connect(&self.endpoint, &self.clock).await
    }

    async fn now(&self) -> Result<Timestamp, Trouble> {
        Ok(self.client.clock().await?.value.timestamp)
    }

    async fn orders_since(&self, after: Timestamp) -> Result<Vec<Order>, Trouble> {
        Ok(self.client.orders_since(after).await?)
    }

    async fn open_orders(&self) -> Result<Vec<Order>, Trouble> {
        Ok(self.client.open_orders(Lane::Read).await?)
    }

    async fn fills_since(&self, after: Timestamp) -> Result<Vec<FillActivity>, Trouble> {
        Ok(self.client.fill_activities(after).await?)
    }

    async fn order(&self, id: OrderId) -> Result<Option<Order>, Trouble> {
        match self.client.find_by_order_id(id).await {
            LookUpAnswer::Found(order) => Ok(Some(*order)),
            LookUpAnswer::Absent => Ok(None),
            LookUpAnswer::AccountRefused(refusal) => Err(ReadError::AccountRefused(refusal).into()),
            LookUpAnswer::Failed { cause, retry_after } => Err(Trouble { cause, retry_after }),
        }
    }
}

/// The real journal and bucket.
#[derive(Debug)]
pub(super) struct Nats {
    pub(super) journal: Journal,
    pub(super) bucket: Bucket,
}

impl Store for Nats {
    async fn publish(&self, report: &ExecutionReport, last: u64) -> Result<Option<u64>, Trouble> {
        Ok(self
            .journal
            .update_after(report, &report.identity(), last)
            .await?)
    }

    async fn published(&self, client_order_id: &str) -> Result<Told, Trouble> {
        Ok(self.journal.updates(client_order_id).await?)
    }

    async fn last_published_at(&self) -> Result<Option<Timestamp>, Trouble> {
        Ok(self.journal.last_update_at().await?)
    }

    async fn watermark(&self) -> Result<Option<Bytes>, Trouble> {
        Ok(self.bucket.get(watermark::KEY).await?.map(|entry| entry.value))
    }

    async fn set_watermark(&self, value: Bytes) -> Result<(), Trouble> {
        self.bucket.put(watermark::KEY, value).await?;
        Ok(())
    }
}
