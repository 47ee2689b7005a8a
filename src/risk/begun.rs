//! Orders on their way: let through, and not yet counted by the blotter.

use std::collections::HashMap;

use super::request::Request;
use crate::domain::{ClientOrderId, CommandId};

/// What each command has on its way. Commands that share an id trade in the name of one order, and only the ledger says
/// whose it is: until then each counts, and none can make another one count no more.
#[derive(Debug, Default)]
pub(super) struct Begun(HashMap<ClientOrderId, Vec<(CommandId, Request)>>);

impl Begun {
    /// It counts from now on, once for each command.
    pub(super) fn note(&mut self, command: CommandId, id: &ClientOrderId, request: Request) {
        let of_id = self.0.entry(id.clone()).or_default();
        match of_id.iter_mut().find(|(noted, _)| *noted == command) {
            Some((_, noted)) => *noted = request,
            None => of_id.push((command, request)),
        }
    }

    /// What this command has on its way under this id counts no more.
    pub(super) fn over(&mut self, command: CommandId, id: &ClientOrderId) {
        if let Some(of_id) = self.0.get_mut(id) {
            of_id.retain(|(noted, _)| *noted != command);
            if of_id.is_empty() {
                self.0.remove(id);
            }
        }
    }

    /// Nothing of this id is on its way any more, whoever sent it.
    pub(super) fn arrived(&mut self, id: &ClientOrderId) {
        self.0.remove(id);
    }

    /// Whether any command has an order of this id on its way.
    pub(super) fn has(&self, id: &ClientOrderId) -> bool {
        self.0.contains_key(id)
    }

    /// Everything on its way.
    pub(super) fn requests(&self) -> impl Iterator<Item = &Request> {
        self.0.values().flatten().map(|(_, request)| request)
    }
}
