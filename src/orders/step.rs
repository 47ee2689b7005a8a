//! What a command meets in the ledger, and what it does then. Pure.

use jiff::Timestamp;

use crate::domain::record::{CancelMark, Intent, PayloadHash, RecordState};
use crate::domain::{CommandId, OrderId, Outcome};
use crate::ledger::Page;
use crate::trial::{self, Bug};

/// What to do with an order, given what the ledger knows of its id.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Nobody began, as far as is known: write the intent.
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
        RecordState::CancelMark | RecordState::External => match record.cancel_mark {
            Some(mark) if mark.cancels(command, stored_at) => Step::Canceled(mark),
            _ => Step::Begin,
        },
        RecordState::Intent(intent) if intent.payload_hash == *hash => Step::Resume(intent.clone()),
        RecordState::Settled(intent, outcome) if intent.payload_hash == *hash => {
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
    use crate::domain::{ClientOrderId, CommandKind, OrderRecord, Verdict};

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
            order: None,
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
        let settled = |verdict| RecordState::Settled(intent(), outcome(verdict));
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
