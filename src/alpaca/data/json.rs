//! Frames in JSON.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::frame::{Fields, FrameError, Value};

pub(super) fn read<'a>(frame: &'a [u8], each: &mut dyn FnMut(Fields<'a>)) -> Result<(), FrameError> {
    let mut json = serde_json::Deserializer::from_slice(frame);
    json.deserialize_seq(Rows(each))
        .and_then(|()| json.end())
        .map_err(|error| FrameError(error.to_string()))
}

struct Rows<'f, 'a>(&'f mut dyn FnMut(Fields<'a>));

impl<'a> Visitor<'a> for Rows<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of rows")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut rows: A) -> Result<(), A::Error> {
        while let Some(fields) = rows.next_element_seed(OneRow)? {
            (self.0)(fields);
        }
        Ok(())
    }
}

struct OneRow;

impl<'a> DeserializeSeed<'a> for OneRow {
    type Value = Fields<'a>;

    fn deserialize<D: Deserializer<'a>>(self, row: D) -> Result<Fields<'a>, D::Error> {
        row.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for OneRow {
    type Value = Fields<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut row: A) -> Result<Fields<'a>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = row.next_key_seed(Name)? {
            fields.set(&name, row.next_value_seed(OneValue)?);
        }
        Ok(fields)
    }
}

/// A key, borrowed unless it has an escape.
struct Name;

impl<'a> DeserializeSeed<'a> for Name {
    type Value = Cow<'a, str>;

    fn deserialize<D: Deserializer<'a>>(self, name: D) -> Result<Cow<'a, str>, D::Error> {
        name.deserialize_str(self)
    }
}

impl<'a> Visitor<'a> for Name {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct OneValue;

impl<'a> DeserializeSeed<'a> for OneValue {
    type Value = Value<'a>;

    fn deserialize<D: Deserializer<'a>>(self, value: D) -> Result<Value<'a>, D::Error> {
        value.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for OneValue {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Value<'a>, E> {
        Ok(Value::Flag(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'a>, E> {
        Ok(Value::Whole(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'a>, E> {
        Ok(Value::Number(number as f64))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'a>, E> {
        Ok(Value::Number(number))
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'a>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'a>, E> {
        Ok(Value::Nothing)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut values: A) -> Result<Value<'a>, A::Error> {
        let (mut texts, mut levels) = (Vec::new(), Vec::new());
        while let Some(item) = values.next_element_seed(Item)? {
            match item {
                Listed::Text(text) => texts.push(text),
                Listed::Level(level) => levels.push(level),
                Listed::Nothing => {}
            }
        }
        Ok(if levels.is_empty() {
            Value::Texts(texts)
        } else {
            Value::Levels(levels)
        })
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Value<'a>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Nothing)
    }
}

/// What stands in a list.
enum Listed<'a> {
    Text(Cow<'a, str>),
    Level((f64, f64)),
    Nothing,
}

struct Item;

impl<'a> DeserializeSeed<'a> for Item {
    type Value = Listed<'a>;

    fn deserialize<D: Deserializer<'a>>(self, item: D) -> Result<Listed<'a>, D::Error> {
        item.deserialize_any(self)
    }
}

impl<'a> Visitor<'a> for Item {
    type Value = Listed<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a price level")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Listed<'a>, E> {
        Ok(Listed::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Listed<'a>, E> {
        Ok(Listed::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Listed<'a>, E> {
        Ok(Listed::Nothing)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Listed<'a>, E> {
        Ok(Listed::Nothing)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Listed<'a>, E> {
        Ok(Listed::Nothing)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Listed<'a>, E> {
        Ok(Listed::Nothing)
    }

    fn visit_unit<E: Error>(self) -> Result<Listed<'a>, E> {
        Ok(Listed::Nothing)
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut items: A) -> Result<Listed<'a>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Listed::Nothing)
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Listed<'a>, A::Error> {
        let (mut price, mut size) = (0.0, 0.0);
        while let Some(name) = map.next_key_seed(Name)? {
            let value = map.next_value_seed(OneValue)?.number();
            match name.as_ref() {
                "p" => price = value,
                "s" => size = value,
                _ => {}
            }
        }
        Ok(Listed::Level((price, size)))
    }
}
