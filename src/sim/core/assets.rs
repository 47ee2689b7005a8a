//! The universe: a fixed list of shares and coins, plus every well-formed option on those shares.

use std::collections::HashMap;
use std::str::FromStr;

use jiff::civil::Date;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::order::wire_words;
use super::rng::Seeded;
use super::tape::TEST_SYMBOL;

wire_words! {
    /// What kind of thing is traded.
    pub enum AssetClass {
        UsEquity = "us_equity",
        UsOption = "us_option",
        Crypto = "crypto",
    }
}

/// Call or put, with what is needed to price it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contract {
    pub(crate) is_call: bool,
    pub(crate) strike: Decimal,
    pub(crate) expires_on: Date,
}

/// Something that can be traded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Asset {
    pub(crate) id: Uuid,
    pub(crate) class: AssetClass,
    pub(crate) symbol: String,
    pub(crate) name: &'static str,
    pub(crate) exchange: &'static str,
    /// The share an option is written on.
    pub(crate) underlying: Option<&'static str>,
    pub(crate) contract: Option<Contract>,
    /// Where the random walk starts; an option has no walk of its own.
    pub(crate) base_price: Decimal,
}

impl Asset {
    /// Units of the underlying per unit traded.
    pub(crate) fn multiplier(&self) -> Decimal {
        match self.class {
            AssetClass::UsOption => Decimal::ONE_HUNDRED,
            AssetClass::UsEquity | AssetClass::Crypto => Decimal::ONE,
        }
    }

    /// What the venue says of it in words.
    pub(crate) fn attributes(&self) -> &'static [&'static str] {
        match self.class {
            AssetClass::UsEquity => &["fractional_eh_enabled", "has_options"],
            AssetClass::UsOption | AssetClass::Crypto => &[],
        }
    }

    /// The coin of a pair: `BTC` of `BTC/USD`.
    pub(crate) fn coin(&self) -> &str {
        self.symbol.split('/').next().unwrap_or(&self.symbol)
    }
}

struct Listing {
    symbol: &'static str,
    name: &'static str,
    exchange: &'static str,
    /// Dollars and cents, without the point.
    cents: i64,
}

const fn listing(symbol: &'static str, name: &'static str, exchange: &'static str, cents: i64) -> Listing {
    Listing {
        symbol,
        name,
        exchange,
        cents,
    }
}

const EQUITIES: [Listing; 11] = [
    listing("AAPL", "Apple Inc. Common Stock", "NASDAQ", 23_000),
    listing("AMZN", "Amazon.com, Inc. Common Stock", "NASDAQ", 21_500),
    listing("BRK.B", "Berkshire Hathaway Inc. Class B", "NYSE", 47_000),
    listing("F", "Ford Motor Company", "NYSE", 1_150),
    listing("GOOG", "Alphabet Inc. Class C", "NASDAQ", 19_000),
    listing("META", "Meta Platforms, Inc. Class A", "NASDAQ", 62_000),
    listing("MSFT", "Microsoft Corporation Common Stock", "NASDAQ", 45_000),
    listing("NVDA", "NVIDIA Corporation Common Stock", "NASDAQ", 14_000),
    listing("QQQ", "Invesco QQQ Trust, Series 1", "NASDAQ", 52_000),
    listing("SPY", "SPDR S&P 500 ETF Trust", "ARCA", 60_000),
    listing("TSLA", "Tesla, Inc. Common Stock", "NASDAQ", 33_000),
];

const COINS: [Listing; 3] = [
    listing("BTC/USD", "Bitcoin / US Dollar", "CRYPTO", 9_500_000),
    listing("ETH/USD", "Ethereum / US Dollar", "CRYPTO", 330_000),
    listing("SOL/USD", "Solana / US Dollar", "CRYPTO", 19_000),
];

/// Finds assets by symbol or id.
#[derive(Debug)]
pub(crate) struct Assets {
    listed: Vec<Asset>,
    /// Places in the list, by symbol, by a coin's symbol without its slash, and by id.
    by_name: HashMap<String, usize>,
}

impl Assets {
    pub(crate) fn new() -> Self {
        let equities = EQUITIES.iter().map(|listing| (AssetClass::UsEquity, listing));
        let coins = COINS.iter().map(|listing| (AssetClass::Crypto, listing));
        let listed = equities.chain(coins).map(|(class, listing)| Asset {
            id: asset_id(listing.symbol),
            class,
            symbol: listing.symbol.to_owned(),
            name: listing.name,
            exchange: listing.exchange,
            underlying: None,
            contract: None,
            base_price: Decimal::new(listing.cents, 2),
        });
        let mut assets = Self {
            listed: Vec::new(),
            by_name: HashMap::new(),
        };
        listed.for_each(|asset| assets.list(asset));
        assets
    }

    fn list(&mut self, asset: Asset) {
        let place = self.listed.len();
        for name in [
            asset.symbol.clone(),
            asset.symbol.replace('/', ""),
            asset.id.to_string(),
        ] {
            self.by_name.entry(name).or_insert(place);
        }
        self.listed.push(asset);
    }

    /// The same, and these symbols with the price that each begins at: a pair with a slash is a coin, all else a share.
    pub(crate) fn with(extra: &[(&str, Decimal)]) -> Self {
        let mut assets = Self::new();
        for (symbol, price) in extra {
            if assets.listed.iter().any(|asset| asset.symbol == *symbol) {
                continue;
            }
            let is_coin = symbol.contains('/');
            assets.list(Asset {
                id: asset_id(symbol),
                class: if is_coin {
                    AssetClass::Crypto
                } else {
                    AssetClass::UsEquity
                },
                symbol: (*symbol).to_owned(),
                name: "A replayed symbol",
                exchange: if is_coin { "CRYPTO" } else { "NYSE" },
                underlying: None,
                contract: None,
                base_price: *price,
            });
        }
        assets
    }

    pub(crate) fn listed(&self) -> &[Asset] {
        &self.listed
    }

    /// What the test feed shows around the clock; it cannot be traded.
    pub(crate) fn test() -> Asset {
        Asset {
            id: asset_id(TEST_SYMBOL),
            class: AssetClass::UsEquity,
            symbol: TEST_SYMBOL.to_owned(),
            name: "A symbol for tests",
            exchange: "NYSE",
            underlying: None,
            contract: None,
            base_price: Decimal::new(134, 0),
        }
    }

    /// The asset named by a symbol (`BTCUSD` counts as `BTC/USD`), an option's OCC symbol, or an asset id.
    pub(crate) fn find(&self, name: &str) -> Option<Asset> {
        if let Some(place) = self.by_name.get(name) {
            return self.listed.get(*place).cloned();
        }
        // An id may be spelled in capitals.
        let id = Uuid::parse_str(name).ok();
        self.listed
            .iter()
            .find(|asset| Some(asset.id) == id)
            .cloned()
            .or_else(|| self.option(name))
    }

    /// The contracts listed on a share: eight Fridays, twenty-one strikes around where its price began, calls and puts.
    pub(crate) fn contracts_on(&self, underlying: &str, today: Date) -> Vec<Asset> {
        const FRIDAYS: usize = 8;
        const STRIKES: i64 = 10;
        let Some(share) = self
            .listed
            .iter()
            .find(|asset| asset.symbol == underlying && asset.class == AssetClass::UsEquity)
        else {
            return Vec::new();
        };
        let root = share.symbol.replace('.', "");
        // A fortieth of the price, in whole half dollars.
        let step = (share.base_price / Decimal::from(20)).round().max(Decimal::ONE) / Decimal::TWO;
        let middle = (share.base_price / step).round() * step;
        let fridays = today
            .series(jiff::ToSpan::days(1))
            .filter(|day| day.weekday() == jiff::civil::Weekday::Friday);
        let symbols = fridays.take(FRIDAYS).flat_map(|day| {
            let root = root.clone();
            (-STRIKES..=STRIKES).flat_map(move |at| {
                let strike = ((middle + step * Decimal::from(at)) * Decimal::ONE_THOUSAND).trunc();
                let root = root.clone();
                ["C", "P"].map(move |right| {
                    format!(
                        "{root}{}{right}{:0>8}",
                        day.strftime("%y%m%d"),
                        strike.to_string()
                    )
                })
            })
        });
        symbols.filter_map(|symbol| self.find(&symbol)).collect()
    }

    /// Reads `AAPL250620C00100000`: root, yymmdd, C or P, strike times 1000 in eight digits.
    fn option(&self, symbol: &str) -> Option<Asset> {
        const TAIL: usize = 15;
        let root_len = symbol
            .len()
            .checked_sub(TAIL)
            .filter(|len| (1..=6).contains(len))?;
        if !symbol.is_ascii() {
            return None;
        }
        let (root, tail) = symbol.split_at(root_len);
        let underlying = self
            .listed
            .iter()
            .find(|asset| asset.class == AssetClass::UsEquity && asset.symbol.replace('.', "") == root)?;
        let (date, right_and_strike) = tail.split_at(6);
        let (right, strike) = right_and_strike.split_at(1);
        let is_call = match right {
            "C" => true,
            "P" => false,
            _ => return None,
        };
        if !date
            .bytes()
            .chain(strike.bytes())
            .all(|byte| byte.is_ascii_digit())
        {
            return None;
        }
        let number = |text: &str| i8::from_str(text).ok();
        let year = 2000 + i16::from(number(&date[..2])?);
        let expires_on = Date::new(year, number(&date[2..4])?, number(&date[4..])?).ok()?;
        let strike = Decimal::new(i64::from_str(strike).ok()?, 3);
        Some(Asset {
            id: asset_id(symbol),
            class: AssetClass::UsOption,
            symbol: symbol.to_owned(),
            name: underlying.name,
            exchange: "",
            underlying: EQUITIES
                .iter()
                .map(|listing| listing.symbol)
                .find(|name| *name == underlying.symbol),
            contract: Some(Contract {
                is_call,
                strike,
                expires_on,
            }),
            base_price: Decimal::ZERO,
        })
    }
}

/// The same id for a symbol in every run, whatever the seed.
fn asset_id(symbol: &str) -> Uuid {
    Seeded::for_name(0, symbol).uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_symbol_is_found() {
        let assets = Assets::new();
        let symbol = |name: &str| assets.find(name).map(|asset| asset.symbol);
        assert_eq!(symbol("BRK.B").as_deref(), Some("BRK.B"));
        assert_eq!(symbol("BTCUSD").as_deref(), Some("BTC/USD"));
        assert_eq!(symbol(&asset_id("SPY").to_string()).as_deref(), Some("SPY"));
        for unknown in [
            "",
            "aapl",
            "NOPE",
            "AAPL250620X00100000",
            "AAPL251320C00100000",
            "ÄAPL250620C0010000",
        ] {
            assert_eq!(symbol(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn an_occ_symbol_is_read() {
        let option = Assets::new().find("AAPL250620C00100500").unwrap();
        assert_eq!(option.underlying, Some("AAPL"));
        let contract = option.contract.unwrap();
        assert!(contract.is_call);
        assert_eq!(contract.strike, Decimal::new(100_500, 3));
        assert_eq!(contract.expires_on, jiff::civil::date(2025, 6, 20));
    }
}
