//! Which messages a consumer wants: all, those with one of some tags, or those whose properties meet a condition.
//!
//! The consume queue holds a hash of each tag, so most messages are passed over without reading their record; the
//! record's own tag decides, since hashes collide. A condition always needs the record, and of it the properties.

pub mod sql;

use std::sync::Arc;

use self::sql::Sql;
use crate::error::BrokerError;
use crate::message::{StoredMessage, properties, property};

/// Longest filter expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Filter {
    #[default]
    All,
    /// Never empty.
    Tags(Vec<Tag>),
    Sql(Arc<Sql>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    text: Box<str>,
    hash: i64,
}

impl Filter {
    /// Reads RocketMQ's tag expression: empty or `*` is everything, `a || b` either of two tags.
    pub fn tags(expression: &str) -> Result<Filter, BrokerError> {
        let refuse = |at: usize, what: &str| BrokerError::InvalidFilter {
            reason: format!("is wrong at {}: {what}", place(expression, at)),
            at: Some(at),
        };
        check_length(expression)?;
        if matches!(expression.trim(), "" | "*") {
            return Ok(Filter::All);
        }
        let (mut tags, mut at) = (Vec::new(), 0);
        for piece in expression.split("||") {
            let text = piece.trim();
            if text.is_empty() {
                return Err(refuse(at, "a tag is missing beside '||'"));
            }
            if let Some(wrong) = piece.find(|c: char| c == '|' || (c.is_control() && !c.is_whitespace())) {
                return Err(refuse(at + wrong, "tags are separated by '||', and hold no control character"));
            }
            if text.contains(char::is_control) {
                return Err(refuse(at, "a tag holds no control character"));
            }
            tags.push(Tag { text: text.into(), hash: tag_hash(text) });
            at += piece.len() + 2;
        }
        Ok(Filter::Tags(tags))
    }

    /// Compiles an SQL92 expression in RocketMQ's dialect.
    pub fn sql(expression: &str) -> Result<Filter, BrokerError> {
        check_length(expression)?;
        let sql = Sql::compile(expression).map_err(|error| BrokerError::InvalidFilter {
            reason: format!("is wrong at {}: {error}", place(expression, error.at)),
            at: Some(error.at),
        })?;
        Ok(Filter::Sql(Arc::new(sql)))
    }

    /// May a message with this hash be wanted? `false` is certain, `true` is not.
    pub fn may_match(&self, hash: i64) -> bool {
        match self {
            Filter::All | Filter::Sql(_) => true,
            Filter::Tags(tags) => tags.iter().any(|tag| tag.hash == hash),
        }
    }

    pub fn matches(&self, message: &StoredMessage) -> bool {
        self.matches_properties(&message.properties)
    }

    /// The same of a message's property string alone.
    pub fn matches_properties(&self, stored: &[u8]) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(tags) => {
                let tag = properties(stored).find(|(name, _)| *name == property::TAGS);
                tag.is_some_and(|(_, tag)| tags.iter().any(|known| &*known.text == tag))
            }
            Filter::Sql(sql) => sql.matches(stored),
        }
    }
}

fn check_length(expression: &str) -> Result<(), BrokerError> {
    if expression.len() > EXPRESSION_BYTES_MAX {
        let reason = format!("is longer than {EXPRESSION_BYTES_MAX} bytes");
        return Err(BrokerError::InvalidFilter { reason, at: None });
    }
    Ok(())
}

/// A place as people count: columns from 1, and lines where there are some.
fn place(expression: &str, at: usize) -> String {
    let before = &expression[..at];
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before[line_start..].chars().count() + 1;
    match before.matches('\n').count() {
        0 => format!("column {column}"),
        lines => format!("line {}, column {column}", lines + 1),
    }
}

/// What the consume queue keeps of a tag: Java's hash of the text, sign-extended; 0 without a tag.
pub fn tag_hash(tag: &str) -> i64 {
    i64::from(java_hash(tag))
}

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
pub fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn java_hashes_are_javas() {
        for (text, hash) in [
            ("TagA", 2_598_919),
            ("TagB", 2_598_920),
            ("*", 42),
            ("order_created", 848_461_559),
            ("a || b", -1_484_572_639),
            ("TopicTest#key1", -1_655_984_460),
            ("polygenelubricants", i32::MIN),
            ("订单-7", 1_085_411_549),
            ("", 0),
        ] {
            assert_eq!(java_hash(text), hash, "{text}");
        }
    }

    #[test]
    fn tag_expressions() {
        assert_eq!(Filter::tags(" * ").unwrap(), Filter::All);
        let filter = Filter::tags("paid || refunded").unwrap();
        let matches = |tag: &str| filter.matches_properties(format!("a\x01paid\x02TAGS\x01{tag}\x02").as_bytes());
        assert!(matches("paid") && matches("refunded"));
        assert!(!matches("open") && !filter.matches_properties(b"a\x01paid\x02"));
        assert!(filter.may_match(tag_hash("paid")) && !filter.may_match(0));
        for (wrong, at) in [
            ("a ||", Some(4)),
            ("|| a", Some(0)),
            ("a | b", Some(2)),
            ("a || || b", Some(4)),
            ("a || b\x01", Some(6)),
            ("a || b\nc", Some(4)),
            (&"t".repeat(5000), None),
        ] {
            match Filter::tags(wrong) {
                Err(BrokerError::InvalidFilter { at: found, .. }) => assert_eq!(found, at, "{wrong}"),
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }
    #[test]
    fn an_sql_filter_is_asked_of_every_message_and_its_error_names_the_place() {
        let filter = Filter::sql("TAGS = 'paid' AND KEYS CONTAINS '7'").unwrap();
        assert!(filter.may_match(0) && filter.may_match(tag_hash("open")));
        assert!(filter.matches_properties(b"KEYS\x01k7 k8\x02TAGS\x01paid\x02"));
        assert!(!filter.matches_properties(b"KEYS\x01k6 k8\x02TAGS\x01paid\x02"));
        for (wrong, at, place) in [
            ("a >", Some(3), "is wrong at column 4: "),
            ("\u{e4} = 1", Some(0), "is wrong at column 1: "),
            ("a = '\u{e4}' AND !", Some(13), "is wrong at column 13: "),
            ("a = 1 AND\n  b = NULL", Some(16), "is wrong at line 2, column 7: "),
            (&"a".repeat(4097), None, "is longer than 4096 bytes"),
        ] {
            match Filter::sql(wrong) {
                Err(BrokerError::InvalidFilter { reason, at: found }) => {
                    assert!(found == at && reason.starts_with(place), "{wrong}: {found:?} {reason}");
                }
                other => panic!("{wrong}: {other:?}"),
            }
        }
    }
}
