//! Which messages a consumer wants: all, or those with one of some tags.
//!
//! The consume queue holds a hash of each tag, so most messages are passed over without reading their record; the
//! record's own tag decides, since hashes collide.

use crate::error::BrokerError;

/// Longest filter expression, in bytes.
pub const EXPRESSION_BYTES_MAX: usize = 4 * 1024;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Filter {
    #[default]
    All,
    /// Never empty.
    Tags(Vec<Tag>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    text: Box<str>,
    hash: i64,
}

impl Filter {
    /// Reads RocketMQ's tag expression: empty or `*` is everything, `a || b` either of two tags.
    pub fn tags(expression: &str) -> Result<Filter, BrokerError> {
        let refuse = |reason: &str| BrokerError::InvalidFilter { reason: reason.to_string() };
        if expression.len() > EXPRESSION_BYTES_MAX {
            return Err(refuse("is longer than 4096 bytes"));
        }
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Ok(Filter::All);
        }
        let mut tags = Vec::new();
        for text in expression.split("||").map(str::trim) {
            if text.is_empty() {
                return Err(refuse("has an empty tag beside '||'"));
            }
            if text.contains('|') || text.contains(char::is_control) {
                return Err(refuse("has a tag with '|' or a control character"));
            }
            tags.push(Tag { text: text.into(), hash: tag_hash(text) });
        }
        Ok(Filter::Tags(tags))
    }

    /// May a message with this hash be wanted? `false` is certain, `true` is not.
    pub fn may_match(&self, hash: i64) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(tags) => tags.iter().any(|tag| tag.hash == hash),
        }
    }

    pub fn matches(&self, tag: Option<&str>) -> bool {
        match self {
            Filter::All => true,
            Filter::Tags(tags) => tag.is_some_and(|tag| tags.iter().any(|known| &*known.text == tag)),
        }
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
        assert!(filter.matches(Some("paid")) && filter.matches(Some("refunded")));
        assert!(!filter.matches(Some("open")) && !filter.matches(None));
        assert!(filter.may_match(tag_hash("paid")) && !filter.may_match(0));
        for wrong in ["a ||", "|| a", "a | b", "a || || b", &"t".repeat(5000)] {
            assert!(Filter::tags(wrong).is_err(), "{wrong}");
        }
    }
}
