//! What is read: the mirrors from the bucket, and of the venue what nobody mirrors.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Office, bad, refused};
use crate::alpaca::rest::ReadError;
use crate::bus::service::{Answer, Question, Refused};
use crate::domain::{Asset, ConditionName, MarketClock, Symbol};
use crate::wire::Encoded;
use crate::wire::service::{self as wire, names};

/// How long what the venue said of a symbol is repeated.
const ASSET_FOR: Duration = Duration::from_secs(3600);
/// Symbols remembered. All are forgotten when there are more.
const ASSETS_MAX: usize = 10_000;
/// How long what the venue said of its clock is repeated.
const CLOCK_FOR: Duration = Duration::from_secs(5);

/// What the venue said lately.
#[derive(Debug, Default)]
pub(super) struct Known {
    assets: Mutex<HashMap<Symbol, Said<Option<Asset>>>>,
    clock: Mutex<Option<Said<MarketClock>>>,
}

/// What was said, when by our clock, and how long ago that is.
type Said<T> = (T, Timestamp, Instant);

impl Office {
    pub(super) async fn account(&self, question: &Question) -> Result<Answer, Refused> {
        let bytes = self.kept("account").await?;
        let schema = names::ACCOUNT;
        Answer::new(Encoded { schema, bytes }, question.is_json())
    }

    pub(super) async fn positions(&self, question: &Question) -> Result<Answer, Refused> {
        let wanted = wire::read_positions_request(question.content_type(), question.payload())
            .map_err(|error| bad(&error))?;
        let kept = self.kept("positions").await?;
        let positions = wire::positions_of(&kept, wanted.as_ref()).ok_or_else(|| Refused {
            code: 500,
            message: "the positions in the bucket cannot be read".to_owned(),
        })?;
        Answer::new(positions, question.is_json())
    }

    /// What a mirror has written.
    async fn kept(&self, key: &str) -> Result<bytes::Bytes, Refused> {
        match self.service.bucket.get(key).await {
            Ok(Some(entry)) => Ok(entry.value),
            Ok(None) => Err(Refused {
                code: 503,
                message: format!("the {key} was not read yet; ask again"),
            }),
            Err(error) => Err(refused(503, &error)),
        }
    }

    pub(super) fn limits(&self) -> Encoded {
        let service = &self.service;
        let state = service.gateway.state();
        let unreadable = state
            .conditions
            .iter()
            .find(|condition| condition.name == ConditionName::LimitsUnreadable);
        wire::limits(wire::LimitsReport {
            limits: &service.risk.limits(),
            usage: &service.risk.usage(),
            file: &service.limits_file,
            dry_run: service.risk.is_all_dry(),
            problem: unreadable.map_or("", |condition| condition.reason.as_str()),
        })
    }

    pub(super) async fn asset(&self, question: &Question) -> Result<Answer, Refused> {
        let symbol = wire::read_asset_request(question.content_type(), question.payload())
            .map_err(|error| bad(&error))?;
        // Held while the venue is asked: who asks for the same at once waits for the same answer.
        let mut assets = self.known.assets.lock().await;
        let known = assets.get(&symbol).filter(|(_, _, at)| at.elapsed() < ASSET_FOR);
        let (asset, as_of) = match known {
            Some((asset, as_of, _)) => (asset.clone(), *as_of),
            None => {
                let as_of = self.service.clock.now();
                let asset = self
                    .service
                    .venue
                    .asset(&symbol)
                    .await
                    .map_err(|error| venue(&error))?;
                if assets.len() >= ASSETS_MAX {
                    assets.clear();
                }
                assets.insert(symbol.clone(), (asset.clone(), as_of, Instant::now()));
                (asset, as_of)
            }
        };
        drop(assets);
        match asset {
            Some(asset) => Answer::new(wire::asset(&asset, as_of), question.is_json()),
            None => Err(Refused {
                code: 404,
                message: format!("the venue knows no {symbol}"),
            }),
        }
    }

    pub(super) async fn clock(&self, question: &Question) -> Result<Answer, Refused> {
        let mut known = self.known.clock.lock().await;
        let fresh = (*known).filter(|(_, _, at)| at.elapsed() < CLOCK_FOR);
        let (clock, as_of) = match fresh {
            Some((clock, as_of, _)) => (clock, as_of),
            None => {
                let as_of = self.service.clock.now();
                let clock = self
                    .service
                    .venue
                    .clock()
                    .await
                    .map_err(|error| venue(&error))?
                    .value;
                *known = Some((clock, as_of, Instant::now()));
                (clock, as_of)
            }
        };
        drop(known);
        Answer::new(wire::clock(&clock, as_of), question.is_json())
    }
}

/// The venue does not answer, or not to us.
pub(super) fn venue(error: &ReadError) -> Refused {
    refused(503, error)
}
