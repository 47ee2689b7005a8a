//! What is asked about the mode.

use super::{Office, bad, refused};
use crate::bus::service::{Answer, Question, Refused};
use crate::domain::{GatewayMode, ModeSource};
use crate::mode::{ModeWish, NotChanged};
use crate::wire::service::{mode_change, read_mode_request};

impl Office {
    pub(super) async fn set_mode(&self, question: &Question, mode: GatewayMode) -> Result<Answer, Refused> {
        let asked =
            read_mode_request(question.content_type(), question.payload()).map_err(|error| bad(&error))?;
        let wish = ModeWish {
            mode,
            reason: asked.reason,
            by: asked.by,
            source: ModeSource::Service,
        };
        let changed = self.service.modes.change(wish).await;
        let (change, kept) = changed.map_err(|error| {
            let code = match error {
                NotChanged::NotKept { .. } => 503,
                NotChanged::Overtaken { .. } | NotChanged::Held(_) => 409,
            };
            refused(code, &error)
        })?;
        Answer::new(mode_change(&change, kept), question.is_json())
    }
}
