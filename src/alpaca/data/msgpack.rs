//! Frames in MessagePack, read by hand: half the time of a general decoder, and the feeds have much to say.

use std::borrow::Cow;

use jiff::Timestamp;
use rmp::Marker;

use super::frame::{Fields, FrameError, Value};

/// Lists in lists in lists: more than any row has.
const DEPTH_MAX: u8 = 6;
/// The extension type of a time.
const TIME: i8 = -1;

pub(super) fn read<'a>(frame: &'a [u8], each: &mut dyn FnMut(Fields<'a>)) -> Result<(), FrameError> {
    let mut rest = Rest(frame);
    let marker = rest.marker()?;
    let Some(rows) = rest.list_len(marker)? else {
        return Err(FrameError(format!("it is no list of rows ({marker:?})")));
    };
    // Each row takes bytes of the frame, so a number that is too large ends with them.
    for _ in 0..rows {
        let marker = rest.marker()?;
        let Some(count) = rest.map_len(marker)? else {
            return Err(FrameError(format!("a row is no map ({marker:?})")));
        };
        let mut fields = Fields::default();
        for _ in 0..count {
            match rest.value(0)? {
                Value::Text(name) => {
                    let value = rest.value(0)?;
                    fields.set(&name, value);
                }
                Value::Whole(_)
                | Value::Number(_)
                | Value::Flag(_)
                | Value::Moment(_)
                | Value::Texts(_)
                | Value::Levels(_)
                | Value::Nothing => return Err(FrameError("a key is no text".to_owned())),
            }
        }
        each(fields);
    }
    if rest.0.is_empty() {
        Ok(())
    } else {
        Err(FrameError(format!("{} bytes are left over", rest.0.len())))
    }
}

/// What is left of a frame.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], FrameError> {
        match self.0.split_at_checked(count) {
            Some((taken, rest)) => {
                self.0 = rest;
                Ok(taken)
            }
            None => Err(FrameError("it ends in the middle".to_owned())),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], FrameError> {
        let taken = self.take(N)?;
        Ok(taken.try_into().expect("as many bytes were taken"))
    }

    fn marker(&mut self) -> Result<Marker, FrameError> {
        Ok(Marker::from_u8(self.array::<1>()?[0]))
    }

    fn u8(&mut self) -> Result<u8, FrameError> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, FrameError> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, FrameError> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn text(&mut self, len: usize) -> Result<Value<'a>, FrameError> {
        let bytes = self.take(len)?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::Text(Cow::Borrowed(text))),
            Err(_) => Err(FrameError("a text is not UTF-8".to_owned())),
        }
    }

    /// How many entries a map has, if the marker is a map's.
    fn map_len(&mut self, marker: Marker) -> Result<Option<u32>, FrameError> {
        Ok(if let Marker::FixMap(count) = marker {
            Some(u32::from(count))
        } else if marker == Marker::Map16 {
            Some(u32::from(self.u16()?))
        } else if marker == Marker::Map32 {
            Some(self.u32()?)
        } else {
            None
        })
    }

    /// How many items a list has, if the marker is a list's.
    fn list_len(&mut self, marker: Marker) -> Result<Option<u32>, FrameError> {
        Ok(if let Marker::FixArray(count) = marker {
            Some(u32::from(count))
        } else if marker == Marker::Array16 {
            Some(u32::from(self.u16()?))
        } else if marker == Marker::Array32 {
            Some(self.u32()?)
        } else {
            None
        })
    }

    fn value(&mut self, depth: u8) -> Result<Value<'a>, FrameError> {
        if depth > DEPTH_MAX {
            return Err(FrameError("it is nested too deeply".to_owned()));
        }
        let marker = self.marker()?;
        let signed = |number: i64| match u64::try_from(number) {
            Ok(number) => Value::Whole(number),
            Err(_) => Value::Number(number as f64),
        };
        Ok(match marker {
            Marker::FixPos(number) => Value::Whole(u64::from(number)),
            Marker::FixNeg(number) => signed(i64::from(number)),
            Marker::U8 => Value::Whole(u64::from(self.u8()?)),
            Marker::U16 => Value::Whole(u64::from(self.u16()?)),
            Marker::U32 => Value::Whole(u64::from(self.u32()?)),
            Marker::U64 => Value::Whole(u64::from_be_bytes(self.array()?)),
            Marker::I8 => signed(i64::from(i8::from_be_bytes(self.array()?))),
            Marker::I16 => signed(i64::from(i16::from_be_bytes(self.array()?))),
            Marker::I32 => signed(i64::from(i32::from_be_bytes(self.array()?))),
            Marker::I64 => signed(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Value::Number(f64::from(f32::from_be_bytes(self.array()?))),
            Marker::F64 => Value::Number(f64::from_be_bytes(self.array()?)),
            Marker::True => Value::Flag(true),
            Marker::False => Value::Flag(false),
            Marker::Null | Marker::Reserved => Value::Nothing,
            Marker::FixStr(len) => self.text(usize::from(len))?,
            Marker::Str8 => {
                let len = self.u8()?;
                self.text(usize::from(len))?
            }
            Marker::Str16 => {
                let len = self.u16()?;
                self.text(usize::from(len))?
            }
            Marker::Str32 => {
                let len = self.u32()?;
                self.text(len as usize)?
            }
            Marker::Bin8 => {
                let len = self.u8()?;
                self.skip(usize::from(len))?
            }
            Marker::Bin16 => {
                let len = self.u16()?;
                self.skip(usize::from(len))?
            }
            Marker::Bin32 => {
                let len = self.u32()?;
                self.skip(len as usize)?
            }
            Marker::FixArray(count) => self.list(u32::from(count), depth)?,
            Marker::Array16 => {
                let count = self.u16()?;
                self.list(u32::from(count), depth)?
            }
            Marker::Array32 => {
                let count = self.u32()?;
                self.list(count, depth)?
            }
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
                let count = self.map_len(marker)?.unwrap_or_default();
                Value::Levels(vec![self.level(count, depth)?])
            }
            Marker::FixExt1 => self.extension(1)?,
            Marker::FixExt2 => self.extension(2)?,
            Marker::FixExt4 => self.extension(4)?,
            Marker::FixExt8 => self.extension(8)?,
            Marker::FixExt16 => self.extension(16)?,
            Marker::Ext8 => {
                let len = self.u8()?;
                self.extension(usize::from(len))?
            }
            Marker::Ext16 => {
                let len = self.u16()?;
                self.extension(usize::from(len))?
            }
            Marker::Ext32 => {
                let len = self.u32()?;
                self.extension(len as usize)?
            }
        })
    }

    fn skip(&mut self, len: usize) -> Result<Value<'a>, FrameError> {
        self.take(len).map(|_| Value::Nothing)
    }

    fn list(&mut self, count: u32, depth: u8) -> Result<Value<'a>, FrameError> {
        let (mut texts, mut levels) = (Vec::new(), Vec::new());
        for _ in 0..count {
            match self.value(depth + 1)? {
                Value::Text(text) => texts.push(text),
                Value::Levels(level) => levels.extend(level),
                Value::Whole(_)
                | Value::Number(_)
                | Value::Flag(_)
                | Value::Moment(_)
                | Value::Texts(_)
                | Value::Nothing => {}
            }
        }
        Ok(if levels.is_empty() {
            Value::Texts(texts)
        } else {
            Value::Levels(levels)
        })
    }

    /// A map inside a row: a price level.
    fn level(&mut self, count: u32, depth: u8) -> Result<(f64, f64), FrameError> {
        let (mut price, mut size) = (0.0, 0.0);
        for _ in 0..count {
            let name = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            if let Value::Text(name) = name {
                match name.as_ref() {
                    "p" => price = value.number(),
                    "s" => size = value.number(),
                    _ => {}
                }
            }
        }
        Ok((price, size))
    }

    /// A time in one of its three lengths, or something unknown.
    fn extension(&mut self, len: usize) -> Result<Value<'a>, FrameError> {
        let kind = i8::from_be_bytes(self.array()?);
        let data = self.take(len)?;
        let time = match (kind, len) {
            (TIME, 4) => {
                let seconds = u32::from_be_bytes(data.try_into().expect("four bytes"));
                Timestamp::new(i64::from(seconds), 0).ok()
            }
            (TIME, 8) => {
                let both = u64::from_be_bytes(data.try_into().expect("eight bytes"));
                let nanos = i32::try_from(both >> 34).ok();
                let seconds = i64::try_from(both & 0x3_ffff_ffff).ok();
                nanos
                    .zip(seconds)
                    .and_then(|(nanos, seconds)| Timestamp::new(seconds, nanos).ok())
            }
            (TIME, 12) => {
                let (nanos, seconds) = data.split_at(4);
                let nanos = u32::from_be_bytes(nanos.try_into().expect("four bytes"));
                let seconds = i64::from_be_bytes(seconds.try_into().expect("eight bytes"));
                let nanos = i32::try_from(nanos).ok();
                nanos.and_then(|nanos| Timestamp::new(seconds, nanos).ok())
            }
            _ => None,
        };
        Ok(time.map_or(Value::Nothing, Value::Moment))
    }
}
