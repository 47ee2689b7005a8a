//! Which requests a fault is for.

use std::fmt;

use super::super::route::Endpoint;
use super::text::Quoted;

/// Which requests a reply is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matcher {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) containing: Option<String>,
}

impl Matcher {
    /// Every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Requests to one endpoint.
    pub fn endpoint(endpoint: Endpoint) -> Self {
        Self {
            endpoint: Some(endpoint),
            containing: None,
        }
    }

    /// Narrows to requests whose path, query or body contain `text`, such as a client order id.
    #[must_use]
    pub fn containing(mut self, text: &str) -> Self {
        self.containing = Some(text.to_owned());
        self
    }

    pub(crate) fn matches(&self, endpoint: Option<Endpoint>, target: &str, body: &str) -> bool {
        let contains = |text: &String| target.contains(text.as_str()) || body.contains(text.as_str());
        self.endpoint.is_none_or(|wanted| endpoint == Some(wanted))
            && self.containing.as_ref().is_none_or(contains)
    }
}

impl From<Endpoint> for Matcher {
    fn from(endpoint: Endpoint) -> Self {
        Self::endpoint(endpoint)
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.endpoint.map_or("any", Endpoint::name))?;
        match &self.containing {
            Some(text) => write!(f, " ~{}", Quoted::head_word(text)),
            None => Ok(()),
        }
    }
}
