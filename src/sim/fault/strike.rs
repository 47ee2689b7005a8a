//! Where faults meet requests and streams, and the truth log hears of it.

use super::super::route::Endpoint;
use super::super::server::Shared;
use super::super::truth::Entry;
use super::{Fault, FaultError, Reply, StreamFault, Struck};

impl Shared {
    /// Writes a fault down, or lets it strike at once if it needs nothing to wait for. Its number is what the truth
    /// log and [`Script::remove`] call it by.
    pub(crate) fn inject(&self, fault: Fault) -> Result<u64, FaultError> {
        let Some((stream, what)) = fault.at_once() else {
            return self.script.write(fault);
        };
        let number = self.script.number();
        let entry = Entry::Fault {
            request: None,
            stream: Some(stream.name()),
            fault: number,
            what: &what.to_string(),
        };
        self.note(&entry);
        self.strike(stream, what.clone());
        Ok(number)
    }

    /// Lets a stream misbehave without waiting for an event.
    pub(crate) fn strike(&self, stream: Endpoint, what: StreamFault) {
        let mut world = self.world();
        if stream == Endpoint::Stream {
            world.hub.strike(what);
        } else if stream.is_events() {
            world.events.strike(stream, &what);
        } else if stream.is_market_data() {
            world.feeds.strike(stream, &what);
        }
    }

    /// The faults that strike the next event of a stream.
    pub(crate) fn disturb(&self, stream: Endpoint) -> Vec<StreamFault> {
        let struck = self.script.disturb(stream);
        for (fault, what) in &struck {
            let entry = Entry::Fault {
                request: None,
                stream: Some(stream.name()),
                fault: *fault,
                what: &what.to_string(),
            };
            self.note(&entry);
        }
        struck.into_iter().map(|(_, what)| what).collect()
    }

    /// The fault that strikes a request, if one does.
    pub(crate) fn take_fault(
        &self,
        request: Option<u64>,
        endpoint: Option<Endpoint>,
        target: &str,
        body: &[u8],
    ) -> Option<Reply> {
        let Struck { id, reply } = self.script.take(endpoint, target, body)?;
        let entry = Entry::Fault {
            request,
            stream: None,
            fault: id,
            what: &reply.to_string(),
        };
        self.note(&entry);
        Some(reply)
    }
}
