//! SQL92 filters in RocketMQ's dialect: a condition over a message's properties, compiled once and asked of each message.
//!
//! Lexer and parser are our own, for the dialect is not SQL's: NOT binds tighter than `=`, what follows a complete
//! condition is ignored, `05` reads as `0`, comparisons chain. A parser of SQL would refuse what RocketMQ takes, and
//! take what it refuses. What a condition means stands in `sql/evaluation.rs`.

mod evaluation;
mod lexer;
mod parser;

#[cfg(test)]
mod tests;

use crate::message::raw_properties;
use evaluation::{Condition, Truth, holds};

/// Deepest nesting of parentheses, NOT and signs. Parser and evaluation call themselves that often, and no more.
const DEPTH_MAX: usize = 16;
/// Most comparisons and bare properties of one expression.
const TERMS_MAX: usize = 64;
/// Most properties one expression may name.
const NAMES_MAX: usize = 64;

#[derive(Debug)]
pub struct Sql {
    text: Box<str>,
    /// The properties it names, each once: conditions know them by their place here.
    names: Vec<Box<str>>,
    condition: Condition,
}

/// Why an expression does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SqlError {
    /// Byte of the expression where it went wrong.
    pub at: usize,
    pub reason: String,
}

impl Sql {
    pub fn compile(text: &str) -> Result<Sql, SqlError> {
        let (names, condition) = parser::parse(text)?;
        Ok(Sql { text: text.into(), names, condition })
    }

    /// Does the condition hold for a message with this property string? What is unknown does not hold, nor does what
    /// cannot be compared.
    pub fn matches(&self, stored: &[u8]) -> bool {
        matches!(self.evaluate(stored), Ok(Some(true)))
    }

    fn evaluate(&self, stored: &[u8]) -> Truth {
        let mut values = [None; NAMES_MAX];
        let values = &mut values[..self.names.len()];
        self.find(stored, values);
        holds(&self.condition, values)
    }

    /// One pass over the property string. Text that is not UTF-8 is no property, and the first of a name counts, as
    /// everywhere.
    fn find<'a>(&self, stored: &'a [u8], values: &mut [Option<&'a str>]) {
        let mut missing = values.len();
        let mut properties = raw_properties(stored);
        while missing > 0
            && let Some((name, value)) = properties.next()
        {
            if let Some(at) = self.names.iter().position(|wanted| wanted.as_bytes() == name)
                && values[at].is_none()
                && let Ok(value) = std::str::from_utf8(value)
            {
                values[at] = Some(value);
                missing -= 1;
            }
        }
    }
}

/// The same text is the same filter.
impl PartialEq for Sql {
    fn eq(&self, other: &Sql) -> bool {
        self.text == other.text
    }
}

impl Eq for Sql {}
