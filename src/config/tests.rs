//! The configuration as a whole, from maps.

use std::collections::BTreeMap;
use std::fs;

use super::*;

const CANARY: &str = "canary-7f3a91";

/// Paper keys, and what else a test wants.
fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let keys = [("ALPACA_API_KEY", "PKTEST"), ("ALPACA_API_SECRET", "secret")];
    keys.iter()
        .chain(pairs)
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

fn loaded(pairs: &[(&str, &str)]) -> Config {
    load(&map(pairs)).unwrap_or_else(|errors| panic!("{pairs:?}: {errors}"))
}

fn refused(pairs: &[(&str, &str)]) -> String {
    match load(&map(pairs)) {
        Ok(_) => panic!("{pairs:?} should be refused"),
        Err(errors) => errors.to_string(),
    }
}

#[test]
fn keys_are_enough() {
    let config = loaded(&[("HOSTNAME", "gateway-0")]);
    assert_eq!(config.prefix, "nalpaca");
    assert_eq!(config.instance, "gateway-0");
    assert_eq!(config.nats.servers, ["localhost:4222"]);
    assert!(matches!(config.nats.auth, NatsAuth::None));
    assert_eq!(config.alpaca.base_url, "https://paper-api.alpaca.markets");
    assert_eq!(config.alpaca.environment, Environment::Paper);
    assert_eq!(config.alpaca.request_timeout, Duration::from_secs(10));
    assert_eq!(config.orders.max_age, Some(Duration::from_secs(120)));
    assert_eq!(config.orders.max_in_flight, 8);
    assert_eq!(config.orders.blind_policy, BlindPolicy::Hold);
    assert_eq!(config.admin.metrics, Some(([127, 0, 0, 1], 8088).into()));
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.provision, Provision::Create);
    assert_eq!(
        config.objects.trade_update_consumer,
        "nalpaca-tradeupdate-consumer-v0"
    );
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
}
