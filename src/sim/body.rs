//! Request bodies, read as leniently as the venue reads them: a number may be a JSON number or a string,
//! `""` and null mean absent, unknown keys are ignored. Numbers go through their text, never a float.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::core::{
    ConfigurationChange, LegRequest, OPTIONS_LEVEL_MAX, OrderClass, OrderRequest, OrderType, PositionIntent,
    Refusal, ReplaceRequest, Side, StopLoss, TakeProfit, TimeInForce,
};

type Raw<'a> = Option<&'a RawValue>;

#[derive(Default, Deserialize)]
#[serde(default)]
struct OrderBody<'a> {
    #[serde(borrow)]
    symbol: Raw<'a>,
    qty: Raw<'a>,
    notional: Raw<'a>,
    side: Raw<'a>,
    r#type: Raw<'a>,
    time_in_force: Raw<'a>,
    limit_price: Raw<'a>,
    stop_price: Raw<'a>,
    trail_price: Raw<'a>,
    trail_percent: Raw<'a>,
    extended_hours: Raw<'a>,
    client_order_id: Raw<'a>,
    order_class: Raw<'a>,
    take_profit: Option<ExitBody<'a>>,
    stop_loss: Option<ExitBody<'a>>,
    legs: Option<Vec<LegBody<'a>>>,
    position_intent: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ExitBody<'a> {
    #[serde(borrow)]
    limit_price: Raw<'a>,
    stop_price: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct LegBody<'a> {
    #[serde(borrow)]
    symbol: Raw<'a>,
    ratio_qty: Raw<'a>,
    side: Raw<'a>,
    position_intent: Raw<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReplaceBody<'a> {
    #[serde(borrow)]
    qty: Raw<'a>,
    time_in_force: Raw<'a>,
    limit_price: Raw<'a>,
    stop_price: Raw<'a>,
    trail: Raw<'a>,
    client_order_id: Raw<'a>,
}

pub(crate) fn order(body: &[u8]) -> Result<OrderRequest, Refusal> {
    let body: OrderBody<'_> = object(body)?;
    Ok(OrderRequest {
        symbol: text(body.symbol)?,
        qty: decimal("qty", body.qty)?,
        notional: decimal("notional", body.notional)?,
        side: word("side", body.side, Side::parse)?,
        order_type: word("type", body.r#type, OrderType::parse)?,
        time_in_force: word("time_in_force", body.time_in_force, TimeInForce::parse)?,
        limit_price: decimal("limit_price", body.limit_price)?,
        stop_price: decimal("stop_price", body.stop_price)?,
        trail_price: decimal("trail_price", body.trail_price)?,
        trail_percent: decimal("trail_percent", body.trail_percent)?,
        extended_hours: flag(body.extended_hours)?,
        client_order_id: text(body.client_order_id)?,
        class: word("order_class", body.order_class, OrderClass::parse)?,
        take_profit: match body.take_profit {
            Some(exit) => Some(TakeProfit {
                limit_price: decimal("limit_price", exit.limit_price)?,
            }),
            None => None,
        },
        stop_loss: match body.stop_loss {
            Some(exit) => Some(StopLoss {
                stop_price: decimal("stop_price", exit.stop_price)?,
                limit_price: decimal("limit_price", exit.limit_price)?,
            }),
            None => None,
        },
        legs: body
            .legs
            .unwrap_or_default()
            .iter()
            .map(leg)
            .collect::<Result<_, _>>()?,
        position_intent: word("position_intent", body.position_intent, PositionIntent::parse)?,
    })
}

fn leg(body: &LegBody<'_>) -> Result<LegRequest, Refusal> {
    Ok(LegRequest {
        symbol: text(body.symbol)?,
        ratio_qty: decimal("ratio_qty", body.ratio_qty)?,
        side: word("side", body.side, Side::parse)?,
        position_intent: word("position_intent", body.position_intent, PositionIntent::parse)?,
    })
}

pub(crate) fn replace(body: &[u8]) -> Result<ReplaceRequest, Refusal> {
    let body: ReplaceBody<'_> = object(body)?;
    Ok(ReplaceRequest {
        qty: decimal("qty", body.qty)?,
        time_in_force: word("time_in_force", body.time_in_force, TimeInForce::parse)?,
        limit_price: decimal("limit_price", body.limit_price)?,
        stop_price: decimal("stop_price", body.stop_price)?,
        trail: decimal("trail", body.trail)?,
        client_order_id: text(body.client_order_id)?,
    })
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ConfigurationBody<'a> {
    #[serde(borrow)]
    dtbp_check: Raw<'a>,
    pdt_check: Raw<'a>,
    trade_confirm_email: Raw<'a>,
    max_margin_multiplier: Raw<'a>,
    max_options_trading_level: Raw<'a>,
    disable_overnight_trading: Raw<'a>,
    ptp_no_exception_entry: Raw<'a>,
    fractional_trading: Raw<'a>,
    no_shorting: Raw<'a>,
    suspend_trade: Raw<'a>,
    closing_transactions_only: Raw<'a>,
}

/// Settings to change. A client that sends the whole of what it once read sends nulls too: they change nothing.
pub(crate) fn configuration(body: &[u8]) -> Result<ConfigurationChange, Refusal> {
    const CHECKS: &[&str] = &["both", "entry", "exit"];
    let body: ConfigurationBody<'_> = object(body)?;
    let level = decimal("max_options_trading_level", body.max_options_trading_level)?;
    let level = level.map(|level| {
        let level = u8::try_from(level)
            .ok()
            .filter(|level| *level <= OPTIONS_LEVEL_MAX);
        level.ok_or_else(|| Refusal::invalid("invalid max_options_trading_level"))
    });
    Ok(ConfigurationChange {
        dtbp_check: one_of("dtbp_check", body.dtbp_check, CHECKS)?,
        pdt_check: one_of("pdt_check", body.pdt_check, CHECKS)?,
        trade_confirm_email: one_of("trade_confirm_email", body.trade_confirm_email, &["all", "none"])?,
        max_margin_multiplier: one_of(
            "max_margin_multiplier",
            body.max_margin_multiplier,
            &["1", "2", "4"],
        )?,
        max_options_trading_level: level.transpose()?,
        disable_overnight_trading: given_flag(body.disable_overnight_trading)?,
        ptp_no_exception_entry: given_flag(body.ptp_no_exception_entry)?,
        fractional_trading: given_flag(body.fractional_trading)?,
        no_shorting: given_flag(body.no_shorting)?,
        suspend_trade: given_flag(body.suspend_trade)?,
        closing_transactions_only: given_flag(body.closing_transactions_only)?,
    })
}

/// A decimal from its text, as a query parameter or a body spells it.
pub(crate) fn decimal_text(field: &str, text: &str) -> Result<Decimal, Refusal> {
    let text = text.trim();
    Decimal::from_str(text)
        .or_else(|_| Decimal::from_scientific(text))
        .map_err(|_| Refusal::invalid(format!("invalid {field}")))
}

fn object<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    // An array would pass for a struct of positional fields.
    let begins_like_an_object = body.trim_ascii_start().first() == Some(&b'{');
    if !begins_like_an_object {
        return Err(Refusal::malformed_body());
    }
    serde_json::from_slice(body).map_err(|_| Refusal::malformed_body())
}

fn text(raw: Raw<'_>) -> Result<Option<String>, Refusal> {
    let Some(raw) = raw else { return Ok(None) };
    let text: Option<String> = serde_json::from_str(raw.get()).map_err(|_| Refusal::malformed_body())?;
    Ok(text.filter(|text| !text.is_empty()))
}

fn word<T>(field: &str, raw: Raw<'_>, parse: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Refusal> {
    let Some(word) = text(raw)? else { return Ok(None) };
    parse(&word)
        .map(Some)
        .ok_or_else(|| Refusal::invalid(format!("invalid {field}")))
}

fn decimal(field: &str, raw: Raw<'_>) -> Result<Option<Decimal>, Refusal> {
    let Some(json) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    match json.bytes().next() {
        Some(b'"') => match text(raw)? {
            Some(text) => decimal_text(field, &text).map(Some),
            None => Ok(None),
        },
        Some(b'-' | b'0'..=b'9') => decimal_text(field, json).map(Some),
        Some(b'n') => Ok(None),
        Some(_) | None => Err(Refusal::malformed_body()),
    }
}

/// One of these words; a number counts as its text.
fn one_of(field: &str, raw: Raw<'_>, words: &[&'static str]) -> Result<Option<&'static str>, Refusal> {
    let is_text = |json: &str| json.starts_with(['"', 'n']);
    let given = match raw.map(RawValue::get) {
        Some(json) if !is_text(json) => Some(json.to_owned()),
        Some(_) | None => text(raw)?,
    };
    let Some(given) = given else { return Ok(None) };
    words
        .iter()
        .find(|word| **word == given)
        .map(|word| Some(*word))
        .ok_or_else(|| Refusal::invalid(format!("invalid {field}")))
}

fn given_flag(raw: Raw<'_>) -> Result<Option<bool>, Refusal> {
    match raw.map(RawValue::get) {
        None | Some("null" | "\"\"") => Ok(None),
        Some(_) => flag(raw).map(Some),
    }
}

fn flag(raw: Raw<'_>) -> Result<bool, Refusal> {
    match raw.map(RawValue::get) {
        None | Some("null" | "false" | "\"false\"" | "\"False\"" | "\"\"") => Ok(false),
        Some("true" | "\"true\"" | "\"True\"") => Ok(true),
        Some(_) => Err(Refusal::malformed_body()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_nulls_and_empties_are_read_alike() {
        let strings =
            br#"{"symbol":"SPY","qty":"0.100000001","side":"buy","type":"limit","limit_price":"10.10"}"#;
        let numbers = br#" {"symbol":"SPY","qty":0.100000001,"side":"buy","type":"limit","limit_price":10.10,
            "notional":null,"order_class":"","client_order_id":"","take_profit":null,"legs":null,"unknown":[1]}"#;
        assert_eq!(order(strings).unwrap(), order(numbers).unwrap());
        let request = order(br#"{"qty":1e-3,"extended_hours":"True"}"#).unwrap();
        assert_eq!(request.qty, Some(Decimal::new(1, 3)));
        assert!(request.extended_hours);
    }

    #[test]
    fn what_is_not_an_order_is_refused() {
        let check = |body: &str, status: u16, code: u32| {
            let refusal = order(body.as_bytes()).unwrap_err();
            assert_eq!((refusal.status, refusal.code), (status, Some(code)), "{body}");
        };
        for body in [
            "",
            "null",
            "[]",
            "{",
            r#"{"symbol":1}"#,
            r#"{"qty":true}"#,
            r#"{"qty":{}}"#,
            "\u{0}",
        ] {
            check(body, 400, 40_010_000);
        }
        for body in [
            r#"{"qty":"one"}"#,
            r#"{"qty":1e400}"#,
            r#"{"side":"BUY"}"#,
            r#"{"type":"magic"}"#,
        ] {
            check(body, 422, 40_010_001);
        }
    }
}
