//! What the account keeps beside orders, cash and positions.

use super::configuration::Configuration;

#[derive(Debug, Default)]
pub(crate) struct Paperwork {
    pub(crate) configuration: Configuration,
}
