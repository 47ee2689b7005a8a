//! The record of each order: intent before the POST, outcome after, by compare-and-set.
//!
//! The ledger is what tells a repeat from a first time, whatever the stream forgets: message ids, deliveries, acks.

use crate::bus::{Bucket, BucketError, WriteError};
use crate::domain::record::{Asked, CancelMark, Intent, PayloadHash, RecordState};
use crate::domain::{ClientOrderId, CommandId, OrderId, OrderRecord, Outcome, Placement, Symbol, Verdict};
use crate::wire::{self, subject};

use crate::trial::{self, Bug};

use jiff::Timestamp;
use tracing::error;

/// Order records by client order id. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ledger {
    bucket: Bucket,
}

/// A record as it was read, and what to name when replacing it.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) record: Option<OrderRecord>,
    pub(super) revision: u64,
    /// Something is there that is not ours, or not readable any more. Nothing can be concluded from it, so nothing is
    /// sent under this id.
    pub(super) spoilt: bool,
}

impl Page {
    /// What the recorded order trades, as far as the record tells.
    pub(super) fn symbols(&self) -> Option<Vec<Symbol>> {
        let (intent, outcome) = match &self.record.as_ref()?.state {
            RecordState::CancelMark => return None,
            RecordState::Intent(intent) => (intent, None),
            RecordState::Settled(intent, outcome, _) => (intent, Some(outcome)),
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

    pub(super) async fn read(&self, id: &ClientOrderId) -> Result<Page, BucketError> {
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
    pub(super) async fn restore(
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
    pub(super) async fn write(&self, record: &OrderRecord, revision: u64) -> Result<u64, WriteError> {
        self.bucket
            .compare_and_set(
                &key(&record.client_order_id),
                wire::record(record).bytes,
                revision,
            )
            .await
    }
}

fn key(id: &ClientOrderId) -> String {
    subject::encode_id(id.as_str())
}

/// What to do with an order, given what the ledger knows of its id.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nobody began: write the intent.
    Begin,
    /// Somebody began and nobody knows how it ended: ask the venue.
    Resume(Intent),
    /// Nobody could tell by the deadline: go on watching.
    Watch(Intent),
    /// It has ended: say so again.
    Repeat(Box<Outcome>),
    /// A cancel was there first.
    Canceled(CancelMark),
    /// The id is another order's.
    Conflict(Option<OrderId>),
    /// What is there says nothing.
    Spoilt,
}

/// Decides by the ledger's record. Pure; every state in view.
pub(super) fn step(page: &Page, command: CommandId, stored_at: Timestamp, hash: &PayloadHash) -> Step {
    if page.spoilt {
        return Step::Spoilt;
    }
    let Some(record) = &page.record else {
        return Step::Begin;
    };
    let hash = if trial::planted(Bug::HashIgnored) {
        record.hash().unwrap_or(hash)
    } else {
        hash
    };
    match &record.state {
        RecordState::Settled(..) if trial::planted(Bug::RepeatIsBegun) => Step::Begin,
        RecordState::CancelMark if trial::planted(Bug::MarkIgnored) => Step::Begin,
        RecordState::CancelMark => match record.cancel_mark {
            Some(mark) if mark.cancels(command, stored_at) => Step::Canceled(mark),
            _ => Step::Begin,
        },
        RecordState::Intent(intent) if intent.payload_hash == *hash => Step::Resume(intent.clone()),
        RecordState::Settled(intent, outcome, _) if intent.payload_hash == *hash => {
            if outcome.verdict.is_terminal() {
                Step::Repeat(outcome.clone())
            } else {
                Step::Watch(intent.clone())
            }
        }
        RecordState::Intent(intent) => Step::Conflict(intent.order_id),
        RecordState::Settled(intent, ..) => Step::Conflict(intent.order_id),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{CommandKind, Verdict};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn command(sequence: u64) -> CommandId {
        CommandId {
            stream_created: at(0),
            sequence,
        }
    }

    fn intent() -> Intent {
        Intent {
            command: CommandKind::Order,
            id: command(5),
            stored_at: at(100),
            payload_hash: [1; 32],
            asked: None,
            deadline: None,
            at: at(101),
            attempts: 1,
            order_id: None,
        }
    }

    fn outcome(verdict: Verdict) -> Box<Outcome> {
        Box::new(Outcome {
            client_order_id: "a".to_owned(),
            command: CommandKind::Order,
            id: command(5),
            stored_at: at(100),
            at: at(102),
            deadline: None,
            attempts: 1,
            verdict,
            repeated: false,
        })
    }

    fn record(state: RecordState) -> OrderRecord {
        let cancel_mark = Some(CancelMark {
            id: command(9),
            stored_at: at(100),
        });
        OrderRecord {
            client_order_id: ClientOrderId::parse("a").unwrap(),
            state,
            cancel_mark,
            epoch: 0,
        }
    }

    fn page(record: Option<OrderRecord>) -> Page {
        Page {
            record,
            revision: 1,
            spoilt: false,
        }
    }

    #[test]
    fn what_is_not_readable_is_not_begun() {
        let spoilt = Page {
            spoilt: true,
            ..page(None)
        };
        assert_eq!(step(&spoilt, command(5), at(100), &[1; 32]), Step::Spoilt);
    }

    #[test]
    fn the_record_decides_what_happens_to_its_id() {
        let (same, other) = ([1; 32], [2; 32]);
        let unresolved = Verdict::Unresolved {
            message: String::new(),
        };
        let settled = |verdict| RecordState::Settled(intent(), outcome(verdict), None);
        let cases = [
            (RecordState::Intent(intent()), same, Step::Resume(intent())),
            (RecordState::Intent(intent()), other, Step::Conflict(None)),
            (
                settled(Verdict::Expired),
                same,
                Step::Repeat(outcome(Verdict::Expired)),
            ),
            (settled(Verdict::Expired), other, Step::Conflict(None)),
            (settled(unresolved.clone()), same, Step::Watch(intent())),
            (settled(unresolved), other, Step::Conflict(None)),
        ];
        for (state, hash, expected) in cases {
            assert_eq!(
                step(&page(Some(record(state))), command(20), at(100), &hash),
                expected
            );
        }
        assert_eq!(step(&page(None), command(5), at(100), &same), Step::Begin);
        let marked = page(Some(record(RecordState::CancelMark)));
        let mark = CancelMark {
            id: command(9),
            stored_at: at(100),
        };
        assert_eq!(step(&marked, command(8), at(90), &same), Step::Canceled(mark));
        assert_eq!(step(&marked, command(10), at(120), &same), Step::Canceled(mark));
        assert_eq!(
            step(&marked, command(10), at(131), &same),
            Step::Begin,
            "a mark kills nothing later"
        );
    }
}
