//! JSON as a request wrote it, taken apart field by field, with a pointer to whatever is wrong.
//!
//! serde's derived readers do not say where a surprise stands, and refuse a null for a field that has a default. Here a
//! null is an absent field, a name given twice or unknown is an error, and every error names its place.

use std::borrow::Cow;
use std::cell::Cell;
use std::time::Duration;

use gantry_broker_core::clock::Timestamp;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Number;
use serde_json::value::RawValue;

use super::units::{parse_duration, parse_timestamp};
use crate::error::{FieldAt, GatewayError};

/// Most values of one request: a body of brackets alone must not become a hundred times its size in memory. The largest
/// honest request, a full batch with every property set, has fewer.
const VALUES_MAX: u32 = 512 * 1024;
/// The one field that is kept as it was written: it is a message body, and its numbers and order are the producer's.
const WRITTEN_FIELD: &str = "bodyJson";

/// A JSON value. Texts without escapes are slices of the request.
#[derive(Debug)]
pub(super) enum Json<'a> {
    Null,
    Flag(bool),
    Number(Number),
    Text(Cow<'a, str>),
    List(Vec<Json<'a>>),
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
    Written(&'a RawValue),
}

impl<'a> Json<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Json<'a>, GatewayError> {
        let malformed = |reason: String| GatewayError::MalformedRequest { reason };
        let text = std::str::from_utf8(text).map_err(|_| malformed("the JSON is not UTF-8".into()))?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let left = Cell::new(VALUES_MAX);
        Value(&left)
            .deserialize(&mut deserializer)
            .and_then(|json| deserializer.end().map(|()| json))
            .map_err(|error| malformed(format!("this is not proper JSON: {error}")))
    }
}

/// An object whose fields are taken out one by one; what is left in the end is unknown.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    /// JSON pointer to the object.
    at: String,
    members: Vec<(Cow<'a, str>, Json<'a>)>,
}

impl<'a> Fields<'a> {
    /// The fields of a whole request.
    pub(super) fn parse(text: &'a [u8]) -> Result<Fields<'a>, GatewayError> {
        Fields::of(Json::parse(text)?, String::new())
    }

    pub(super) fn of(json: Json<'a>, at: String) -> Result<Fields<'a>, GatewayError> {
        let Json::Object(members) = json else {
            let reason = format!("{} must be an object", if at.is_empty() { "the body" } else { &at });
            return Err(GatewayError::InvalidParameter { at: FieldAt::Pointer(at), reason });
        };
        if let Some(name) = twice(&members) {
            let error = GatewayError::MalformedRequest { reason: format!("'{name}' is given twice") };
            return Err(error.at_field(FieldAt::Pointer(pointer(&at, name))));
        }
        Ok(Fields { at, members })
    }

    /// Nothing may be left.
    pub(super) fn end(self) -> Result<(), GatewayError> {
        match self.members.first() {
            None => Ok(()),
            Some((name, _)) => Err(GatewayError::UnknownField { name: name.to_string(), at: self.at(name) }),
        }
    }

    /// Where a field stands.
    pub(super) fn at(&self, name: &str) -> FieldAt {
        FieldAt::Pointer(pointer(&self.at, name))
    }

    pub(super) fn refuse(&self, name: &str, reason: impl std::fmt::Display) -> GatewayError {
        GatewayError::InvalidParameter { at: self.at(name), reason: format!("{name} {reason}") }
    }

    pub(super) fn required<T>(&self, name: &str, value: Option<T>) -> Result<T, GatewayError> {
        value.ok_or_else(|| self.refuse(name, "is missing"))
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<Cow<'a, str>>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.refuse(name, "must be a text")),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Flag(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.refuse(name, "must be true or false")),
        }
    }

    pub(super) fn integer(&mut self, name: &str) -> Result<Option<i64>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Number(number)) => match number.as_i64() {
                Some(integer) => Ok(Some(integer)),
                None => Err(self.refuse(name, "must be a whole number")),
            },
            Some(_) => Err(self.refuse(name, "must be a number")),
        }
    }

    /// A whole number from 0.
    pub(super) fn count(&mut self, name: &str) -> Result<Option<u32>, GatewayError> {
        match self.integer(name)? {
            None => Ok(None),
            Some(integer) => match u32::try_from(integer) {
                Ok(count) => Ok(Some(count)),
                Err(_) => Err(self.refuse(name, "must be 0 to 4294967295")),
            },
        }
    }

    pub(super) fn decimal(&mut self, name: &str) -> Result<Option<f64>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Number(number)) => Ok(number.as_f64()),
            Some(_) => Err(self.refuse(name, "must be a number")),
        }
    }

    /// A whole number or its decimal text: offsets may pass what JavaScript counts exactly.
    pub(super) fn offset(&mut self, name: &str) -> Result<Option<u64>, GatewayError> {
        let offset = match self.take(name) {
            None => return Ok(None),
            Some(Json::Number(number)) => number.as_u64(),
            Some(Json::Text(text)) if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
            Some(_) => None,
        };
        offset.map(Some).ok_or_else(|| self.refuse(name, "must be a whole number from 0"))
    }

    pub(super) fn duration(&mut self, name: &str) -> Result<Option<Duration>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Text(text)) => parse_duration(&text, self.at(name)).map(Some),
            // Seconds against milliseconds is the classic mistake: a bare number gets the answer that says so.
            Some(Json::Number(number)) => parse_duration(&number.to_string(), self.at(name)).map(Some),
            Some(_) => {
                let reason = format!("{name} must be a text like \"30s\"");
                Err(GatewayError::InvalidDuration { at: self.at(name), reason })
            }
        }
    }

    /// What a known word stands for; a field that is none of the words stays where it is.
    pub(super) fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        let (_, json) = self.members.iter().find(|(known, _)| known == name)?;
        let Json::Text(text) = json else { return None };
        let (_, meaning) = words.iter().find(|(word, _)| word == text)?;
        self.take(name).map(|_| *meaning)
    }

    /// RFC 3339, or milliseconds since 1970.
    pub(super) fn time(&mut self, name: &str) -> Result<Option<Timestamp>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::Text(text)) => parse_timestamp(&text, self.at(name)).map(Some),
            Some(Json::Number(number)) => parse_timestamp(&number.to_string(), self.at(name)).map(Some),
            Some(_) => {
                let reason = format!("{name} must be a time: write RFC 3339 or milliseconds since 1970");
                Err(GatewayError::InvalidTimestamp { at: self.at(name), reason })
            }
        }
    }

    pub(super) fn list(&mut self, name: &str) -> Result<Option<Vec<Json<'a>>>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(Json::List(list)) => Ok(Some(list)),
            Some(_) => Err(self.refuse(name, "must be a list")),
        }
    }

    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<Cow<'a, str>>>, GatewayError> {
        let Some(list) = self.list(name)? else { return Ok(None) };
        let text = |json| match json {
            Json::Text(text) => Ok(text),
            _ => Err(self.refuse(name, "must be a list of texts")),
        };
        list.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// An object of texts, in the order they were written; a name given twice is for the caller to judge.
    pub(super) fn pairs(&mut self, name: &str) -> Result<Option<Vec<TextPair<'a>>>, GatewayError> {
        let members = match self.take(name) {
            None => return Ok(None),
            Some(Json::Object(members)) => members,
            Some(_) => return Err(self.refuse(name, "must be an object")),
        };
        let pair = |(key, json): (Cow<'a, str>, Json<'a>)| match json {
            Json::Text(text) => Ok((key, text)),
            _ => {
                let at = FieldAt::Pointer(pointer(&pointer(&self.at, name), &key));
                Err(GatewayError::InvalidParameter { at, reason: format!("{name} must be an object of texts") })
            }
        };
        members.into_iter().map(pair).collect::<Result<_, _>>().map(Some)
    }

    pub(super) fn object(&mut self, name: &str) -> Result<Option<Fields<'a>>, GatewayError> {
        match self.take(name) {
            None => Ok(None),
            Some(json) => Fields::of(json, pointer(&self.at, name)).map(Some),
        }
    }

    /// The text of `bodyJson` as it was written.
    pub(super) fn written(&mut self) -> Option<&'a str> {
        match self.take(WRITTEN_FIELD) {
            Some(Json::Written(json)) => Some(json.get()),
            _ => None,
        }
    }

    /// A field that the API knows and this version does not serve.
    pub(super) fn not_built(&mut self, name: &str) -> Result<(), GatewayError> {
        match self.take(name) {
            None => Ok(()),
            Some(_) => Err(GatewayError::NotImplemented { what: format!("'{name}'") }.at_field(self.at(name))),
        }
    }

    /// A null is an absent field.
    fn take(&mut self, name: &str) -> Option<Json<'a>> {
        let at = self.members.iter().position(|(known, _)| known == name)?;
        match self.members.swap_remove(at).1 {
            Json::Null => None,
            Json::Written(json) if json.get() == "null" => None,
            json => Some(json),
        }
    }
}

type TextPair<'a> = (Cow<'a, str>, Cow<'a, str>);

fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A name that stands there twice.
fn twice<'m>(members: &'m [(Cow<'_, str>, Json<'_>)]) -> Option<&'m str> {
    let mut names: Vec<&str> = members.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}

/// Without the white space between its tokens; nothing else changes.
pub(super) fn compact(written: &str) -> String {
    let mut compact = String::with_capacity(written.len());
    let (mut in_text, mut escaped) = (false, false);
    for c in written.chars() {
        if in_text {
            (in_text, escaped) = (escaped || c != '"', !escaped && c == '\\');
        } else if c.is_ascii_whitespace() {
            continue;
        } else {
            in_text = c == '"';
        }
        compact.push(c);
    }
    compact
}

/// Reads one value, counting down how many may follow.
#[derive(Clone, Copy)]
struct Value<'l>(&'l Cell<u32>);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = Json<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json<'de>, D::Error> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| D::Error::custom("it holds too many values"))?;
        self.0.set(left);
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Json<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json<'de>, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json<'de>, E> {
        Ok(Json::Flag(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json<'de>, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Json<'de>, E> {
        Number::from_f64(number).map(Json::Number).ok_or_else(|| E::custom("a number is too large"))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json<'de>, E> {
        Ok(Json::Text(Cow::Owned(text.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Json<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(json) = values.next_element_seed(self)? {
            list.push(json);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Json<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(name) = values.next_key_seed(self)? {
            let Json::Text(name) = name else { return Err(A::Error::custom("a name must be a text")) };
            let json = if name == WRITTEN_FIELD {
                Json::Written(values.next_value::<&'de RawValue>()?)
            } else {
                values.next_value_seed(self)?
            };
            members.push((name, json));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields<'_> {
        Fields::parse(text.as_bytes()).unwrap()
    }

    fn place(error: &GatewayError) -> &str {
        match error.at() {
            Some(FieldAt::Pointer(pointer)) => pointer,
            other => panic!("{error} stands at {other:?}"),
        }
    }

    #[test]
    fn every_kind_of_field_reads_and_nothing_is_left() {
        let text = r#"{"t":"a\nb","f":true,"i":-3,"c":7,"d":1.5,"o":"9007199254740993","e":"1.5s","w":null,
            "l":["a","b"],"p":{"x":"1","y":"2"},"u":"1970-01-01T00:00:01Z","v":2000,"n":{"a":1}}"#;
        let mut fields = fields(text);
        assert_eq!(fields.text("t").unwrap().unwrap(), "a\nb");
        assert_eq!(fields.flag("f").unwrap(), Some(true));
        assert_eq!(fields.integer("i").unwrap(), Some(-3));
        assert_eq!(fields.count("c").unwrap(), Some(7));
        assert_eq!(fields.decimal("d").unwrap(), Some(1.5));
        assert_eq!(fields.offset("o").unwrap(), Some(9_007_199_254_740_993));
        assert_eq!(fields.duration("e").unwrap(), Some(Duration::from_millis(1_500)));
        assert_eq!(fields.text("w").unwrap(), None);
        assert_eq!(fields.texts("l").unwrap().unwrap(), ["a", "b"]);
        assert_eq!(fields.pairs("p").unwrap().unwrap(), [("x".into(), "1".into()), ("y".into(), "2".into())]);
        assert_eq!(fields.time("u").unwrap(), Some(Timestamp(1_000)));
        assert_eq!(fields.time("v").unwrap(), Some(Timestamp(2_000)));
        let mut inner = fields.object("n").unwrap().unwrap();
        assert_eq!(inner.count("a").unwrap(), Some(1));
        inner.end().unwrap();
        fields.end().unwrap();
    }

    #[test]
    fn errors_name_their_place() {
        let mut outer = fields(r#"{"a/b":{"x~y":5}}"#);
        let mut inner = outer.object("a/b").unwrap().unwrap();
        let error = inner.text("x~y").unwrap_err();
        assert_eq!(place(&error), "/a~1b/x~0y");
        let error = fields(r#"{"known":1,"unknown":2}"#).end().unwrap_err();
        assert!(matches!(error, GatewayError::UnknownField { .. }), "{error:?}");
        let error = Fields::parse(b"[]").unwrap_err();
        assert_eq!(place(&error), "");
        let error = fields(r#"{"p":{"k":1}}"#).pairs("p").unwrap_err();
        assert_eq!(place(&error), "/p/k");
    }

    #[test]
    fn a_bare_number_is_no_duration() {
        for text in [r#"{"d":5}"#, r#"{"d":"5"}"#, r#"{"d":true}"#, r#"{"d":"-1s"}"#] {
            let error = fields(text).duration("d").unwrap_err();
            assert!(matches!(error, GatewayError::InvalidDuration { .. }), "{text}: {error:?}");
        }
    }

    #[test]
    fn numbers_keep_their_ranges() {
        for text in ["-1", "1.5", "\"x\"", "\"\"", "\"+1\"", "true", "99999999999999999999"] {
            assert!(fields(&format!("{{\"o\":{text}}}")).offset("o").is_err(), "{text}");
        }
        for text in ["-1", "4294967296", "1.5", "\"1\""] {
            assert!(fields(&format!("{{\"c\":{text}}}")).count("c").is_err(), "{text}");
        }
    }

    #[test]
    fn malformed_json_is_refused() {
        let deep = "[".repeat(200);
        for text in ["", "{", "{}x", "{\"a\":1,}", "{'a':1}", "{\"a\":01}", "{\"a\":1e999}", "nul", "\"\\x\"", &deep] {
            let error = Json::parse(text.as_bytes()).unwrap_err();
            assert!(matches!(error, GatewayError::MalformedRequest { .. }), "{text}: {error:?}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
        let many = format!("[{}0]", "0,".repeat(VALUES_MAX as usize));
        assert!(Json::parse(many.as_bytes()).is_err());
    }

    #[test]
    fn a_name_given_twice_is_refused_where_it_stands() {
        let mut outer = fields(r#"{"a":{"b":1,"c":2,"b":3}}"#);
        let error = outer.object("a").unwrap_err();
        assert_eq!(place(&error), "/a/b");
        // An escaped spelling is the same name.
        assert!(Fields::parse(br#"{"a":1,"\u0061":2}"#).is_err());
    }

    #[test]
    fn a_json_body_keeps_its_numbers_its_order_and_its_texts() {
        let text = r#"{"bodyJson": { "b" : 1.0, "a":12345678901234567890123, "c": " \" x\\", "a": [ 1 , 2 ] } }"#;
        let written = fields(text).written().unwrap().to_string();
        assert_eq!(compact(&written), r#"{"b":1.0,"a":12345678901234567890123,"c":" \" x\\","a":[1,2]}"#);
        assert_eq!(fields(r#"{"bodyJson":null}"#).written(), None);
    }
}
