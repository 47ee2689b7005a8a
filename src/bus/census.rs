//! Looks at the objects commands depend on, and tells whether they are still the ones they were.
//!
//! A server that was restarted, a stream or consumer that was made anew, a store that was rolled back: after any of
//! these a message may be delivered "for the first time" that was executed long ago. Whoever notices says so
//! ([`Connection::suspect`]), and from then on the venue is asked before anything is sent.

use async_nats::jetstream::consumer;

use super::Connection;
use crate::config::ObjectNames;

/// The objects as they were at one instant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// The server that answered; it takes a new id at every start.
    pub server_id: Option<String>,
    /// When the action stream was created, in nanoseconds since 1970.
    pub stream_created: i128,
    /// The last sequence the action stream gave away.
    pub last_sequence: u64,
    /// When each consumer of commands was created.
    pub consumers_created: Vec<i128>,
    /// When the ledger was created.
    pub ledger_created: i128,
    /// The last revision the ledger gave away.
    pub ledger_revision: u64,
    /// Commands each consumer has still to hand out, by its name.
    pub pending: Vec<(String, u64)>,
    /// Commands that are stored, and that no consumer will ever hand out again.
    pub stranded: u64,
}

/// The objects could not be looked at.
#[derive(Debug, thiserror::Error)]
#[error("look at the objects commands depend on: {0}")]
pub struct CensusError(String);

impl Census {
    /// Looks now.
    pub async fn take(connection: &Connection, names: &ObjectNames) -> Result<Self, CensusError> {
        let fail = |error: &dyn std::error::Error| CensusError(error.to_string());
        let jetstream = connection.jetstream();
        let ledger = jetstream
            .get_stream(format!("KV_{}", names.orders_bucket))
            .await
            .map_err(|error| fail(&error))?;
        let ledger = ledger.cached_info();
        let mut waiting = 0;
        let mut pending = Vec::new();
        let mut consumers_created = Vec::new();
        let handle = jetstream
            .get_stream_no_info(&names.action_stream)
            .await
            .map_err(|error| fail(&error))?;
        // The consumers first: what is stored or acked in between makes a command more, never one less.
        for name in [&names.orders_consumer, &names.cancel_consumer] {
            let info: consumer::Info = handle.consumer_info(name).await.map_err(|error| fail(&error))?;
            pending.push((name.clone(), info.num_pending));
            waiting += info.num_pending + u64::try_from(info.num_ack_pending).unwrap_or(u64::MAX);
            consumers_created.push(info.created.unix_timestamp_nanos());
        }
        let stream = jetstream
            .get_stream(&names.action_stream)
            .await
            .map_err(|error| fail(&error))?;
        let stream = stream.cached_info();
        Ok(Self {
            server_id: connection.server().map(|(_, id)| id),
            stream_created: stream.created.unix_timestamp_nanos(),
            last_sequence: stream.state.last_sequence,
            consumers_created,
            ledger_created: ledger.created.unix_timestamp_nanos(),
            ledger_revision: ledger.state.last_sequence,
            pending,
            stranded: stream.state.messages.saturating_sub(waiting),
        })
    }

    /// Why these cannot be the objects of an earlier look, if they cannot.
    pub fn contradicts(&self, earlier: &Self) -> Option<&'static str> {
        if self.server_id != earlier.server_id {
            Some("another server answers, or it was restarted")
        } else if self.stream_created != earlier.stream_created {
            Some("the action stream was made anew")
        } else if self.consumers_created != earlier.consumers_created {
            Some("a consumer of commands was made anew")
        } else if self.ledger_created != earlier.ledger_created {
            Some("the ledger was made anew")
        } else if self.last_sequence < earlier.last_sequence {
            Some("the action stream's sequence went back")
        } else if self.ledger_revision < earlier.ledger_revision {
            Some("the ledger's revision went back")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_the_same_object_is_told() {
        let census = Census {
            server_id: Some("A".to_owned()),
            stream_created: 1,
            last_sequence: 10,
            consumers_created: vec![2, 3],
            ledger_created: 4,
            ledger_revision: 20,
            pending: Vec::new(),
            stranded: 0,
        };
        let later = Census {
            last_sequence: 12,
            ledger_revision: 25,
            stranded: 1,
            ..census.clone()
        };
        assert_eq!(later.contradicts(&census), None);
        type Change = fn(&mut Census);
        let changes: [Change; 6] = [
            |census| census.server_id = Some("B".to_owned()),
            |census| census.stream_created = 9,
            |census| census.consumers_created[1] = 9,
            |census| census.ledger_created = 9,
            |census| census.last_sequence = 9,
            |census| census.ledger_revision = 9,
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let mut changed = later.clone();
            change(&mut changed);
            assert!(changed.contradicts(&census).is_some(), "change {at}");
        }
    }
}
