//! The record of each order: intent before the POST, outcome after, by compare-and-set.
//!
//! The ledger is what tells a repeat from a first time, whatever the stream forgets: message ids, deliveries, acks.

use tracing::error;

use crate::bus::{Bucket, BucketError, WriteError};
use crate::domain::record::{Asked, RecordState};
use crate::domain::{ClientOrderId, OrderRecord, Placement, Symbol, Verdict};
use crate::wire::{self, Encoded, subject};

/// Order records by client order id. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    bucket: Bucket,
}

/// A record as it was read, and what to name when replacing it.
#[derive(Clone, Debug)]
pub struct Page {
    /// What is there.
    pub record: Option<OrderRecord>,
    /// What a write must name; also that of a deleted record, 0 of one that never was.
    pub revision: u64,
    /// Something is there that is not ours, or not readable any more. Nothing can be concluded from it, so nothing is
    /// sent under this id.
    pub spoilt: bool,
}

impl Page {
    /// Of an id nobody wrote under. A write that names it fails where somebody did.
    pub const fn blank() -> Self {
        Self {
            record: None,
            revision: 0,
            spoilt: false,
        }
    }

    /// What the recorded order trades, as far as the record tells.
    pub fn symbols(&self) -> Option<Vec<Symbol>> {
        let record = self.record.as_ref()?;
        let (intent, outcome) = match &record.state {
            RecordState::CancelMark => return None,
            RecordState::External => return Some(vec![record.order.as_ref()?.symbol.clone()?]),
            RecordState::Intent(intent) => (intent, None),
            RecordState::Settled(intent, outcome) => (intent, Some(outcome)),
        };
        if let Some(Asked::Placement(placement)) = &intent.asked
            && let Placement::New(order) = placement.as_ref()
        {
            return Some(order.symbols());
        }
        match &outcome?.verdict {
            Verdict::Accepted(acceptance) | Verdict::LateAccepted(acceptance) => {
                Some(vec![acceptance.order.as_ref()?.symbol.clone()?])
            }
            Verdict::Rejected(_)
            | Verdict::Denied { .. }
            | Verdict::Expired
            | Verdict::Invalid { .. }
            | Verdict::Conflict { .. }
            | Verdict::CanceledBeforeSend { .. }
            | Verdict::Unresolved { .. }
            | Verdict::ConfirmedAbsent => None,
        }
    }
}

impl Ledger {
    /// A ledger in a bucket that is read through its leader.
    pub fn new(bucket: Bucket) -> Self {
        Self { bucket }
    }

    /// The record of an id.
    pub async fn read(&self, id: &ClientOrderId) -> Result<Page, BucketError> {
        let (entry, revision) = self.bucket.get_or_revision(&key(id)).await?;
        let record = match entry.map(|entry| wire::read_record(&entry.value)).transpose() {
            Ok(record) => record,
            Err(cause) => {
                error!(client_order_id = %id, %cause, "the ledger's record is not readable, the id is not used");
                return Ok(Page {
                    record: None,
                    revision,
                    spoilt: true,
                });
            }
        };
        let foreign = record
            .as_ref()
            .is_some_and(|record| record.client_order_id != *id);
        Ok(Page {
            record,
            revision,
            spoilt: foreign,
        })
    }

    /// Puts back what was there before an intent was written, if nobody wrote since.
    pub async fn restore(
        &self,
        id: &ClientOrderId,
        before: Option<&OrderRecord>,
        revision: u64,
    ) -> Result<(), WriteError> {
        match before {
            Some(before) => self.write(before, revision).await.map(|_| ()),
            None => self.bucket.delete_revision(&key(id), revision).await,
        }
    }

    /// Writes if nobody wrote since the page was read.
    pub async fn write(&self, record: &OrderRecord, revision: u64) -> Result<u64, WriteError> {
        self.write_encoded(&record.client_order_id, wire::record(record), revision)
            .await
    }

    /// The same with a record that is in its bytes already.
    pub async fn write_encoded(
        &self,
        id: &ClientOrderId,
        record: Encoded,
        revision: u64,
    ) -> Result<u64, WriteError> {
        self.bucket
            .compare_and_set(&key(id), record.bytes, revision)
            .await
    }
}

fn key(id: &ClientOrderId) -> String {
    subject::encode_id(id.as_str())
}
