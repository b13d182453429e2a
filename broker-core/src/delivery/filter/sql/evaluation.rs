//! What a condition means for the properties of one message: RocketMQ's three-valued logic and its conversions.
//!
//! A property is a string. Beside a number it is read as a number of that very type, and one that cannot be read so
//! ends the whole evaluation: the message does not match, whatever stands beside it. Everything here is read from the
//! expression or borrowed from the record; nothing is allocated.

use std::cmp::Ordering;

/// Something that is true, false or, as `None`, unknown.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Condition {
    Constant(Option<bool>),
    /// A property as a condition of its own.
    Bare(usize),
    Not(Box<Condition>),
    And(Vec<Condition>),
    Or(Vec<Condition>),
    Equal(Operand, Operand),
    IsNull(Operand),
    Order {
        order: Order,
        left: Operand,
        right: Operand,
    },
    Between {
        value: Operand,
        low: Operand,
        high: Operand,
        negated: bool,
    },
    /// `texts` are sorted.
    In {
        property: usize,
        texts: Vec<Box<str>>,
        negated: bool,
    },
    Search {
        operand: Operand,
        search: Search,
        text: Box<str>,
        negated: bool,
    },
}

/// What conditions compare. A property is known by its place among the expression's names.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Property(usize),
    Text(Box<str>),
    Integer(i32),
    Long(i64),
    Double(f64),
    Negative(Box<Operand>),
    Condition(Box<Condition>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Search {
    Contains,
    StartsWith,
    EndsWith,
}

/// The evaluation ended without a result: something was compared that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Incomparable;

pub(super) type Truth = Result<Option<bool>, Incomparable>;

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Text(&'a str),
    Integer(i32),
    Long(i64),
    Double(f64),
    Boolean(bool),
}

pub(super) fn holds(condition: &Condition, properties: &[Option<&str>]) -> Truth {
    match condition {
        Condition::Constant(truth) => Ok(*truth),
        // A string is not TRUE, whatever it says.
        Condition::Bare(property) => Ok(properties[*property].map(|_| false)),
        Condition::Not(condition) => Ok(holds(condition, properties)?.map(|truth| !truth)),
        Condition::And(conditions) => all(conditions, properties, true),
        Condition::Or(conditions) => all(conditions, properties, false),
        Condition::Equal(left, right) => equal(value(left, properties)?, value(right, properties)?),
        Condition::IsNull(operand) => Ok(Some(value(operand, properties)?.is_none())),
        Condition::Order { order, left, right } => match value(left, properties)? {
            None => Ok(None),
            Some(left) => ordered(left, *order, right, properties),
        },
        Condition::Between { value: operand, low, high, negated } => {
            let Some(value) = value(operand, properties)? else { return Ok(None) };
            let (low_order, high_order) = match negated {
                false => (Order::GreaterOrEqual, Order::LessOrEqual),
                true => (Order::Less, Order::Greater),
            };
            // An AND of two, or for the negated form an OR: the first decides alone where it can.
            let decided = Some(*negated);
            let first = ordered(value, low_order, low, properties)?;
            if first == decided {
                return Ok(first);
            }
            let second = ordered(value, high_order, high, properties)?;
            Ok(if second == decided { second } else { first.and(second) })
        }
        Condition::In { property, texts, negated } => Ok(properties[*property].map(|value| {
            let is_in = texts.binary_search_by(|text| (**text).cmp(value)).is_ok();
            is_in != *negated
        })),
        Condition::Search { operand, search, text, negated } => Ok(Some(match value(operand, properties)? {
            // Nothing is found in what is no string, nor missed.
            Some(Value::Text(value)) if !text.is_empty() => search.finds(value, text) != *negated,
            _ => false,
        })),
    }
}

/// AND for `expected` true, OR for false: the first that is the other one decides, and none behind it is asked.
fn all(conditions: &[Condition], properties: &[Option<&str>], expected: bool) -> Truth {
    let mut truth = Some(expected);
    for condition in conditions {
        match holds(condition, properties)? {
            Some(one) if one == expected => {}
            None => truth = None,
            decided => return Ok(decided),
        }
    }
    Ok(truth)
}

/// Something on the left and nothing on the right is FALSE, not unknown; nothing twice is TRUE.
fn equal(left: Option<Value<'_>>, right: Option<Value<'_>>) -> Truth {
    match (left, right) {
        (None, None) => Ok(Some(true)),
        (None, Some(_)) => Ok(None),
        (Some(_), None) => Ok(Some(false)),
        (Some(left), Some(right)) => Ok(Some(compare(left, right)? == Ordering::Equal)),
    }
}

fn ordered(left: Value<'_>, order: Order, right: &Operand, properties: &[Option<&str>]) -> Truth {
    let Some(right) = value(right, properties)? else { return Ok(None) };
    let ordering = match (left, right) {
        (Value::Text(left), Value::Text(right)) => compare_doubles(double(left)?, double(right)?),
        (left, right) => compare(left, right)?,
    };
    Ok(Some(order.holds(ordering)))
}

fn value<'a>(operand: &'a Operand, properties: &[Option<&'a str>]) -> Result<Option<Value<'a>>, Incomparable> {
    Ok(match operand {
        Operand::Property(property) => properties[*property].map(Value::Text),
        Operand::Text(text) => Some(Value::Text(text)),
        Operand::Integer(number) => Some(Value::Integer(*number)),
        Operand::Long(number) => Some(Value::Long(*number)),
        Operand::Double(number) => Some(Value::Double(*number)),
        // Only numbers have a negative; that of a property is none, it is a string.
        Operand::Negative(operand) => match value(operand, properties)? {
            Some(Value::Integer(number)) => Some(Value::Integer(number.wrapping_neg())),
            Some(Value::Long(number)) => Some(Value::Long(number.wrapping_neg())),
            Some(Value::Double(number)) => Some(Value::Double(-number)),
            Some(Value::Text(_) | Value::Boolean(_)) | None => None,
        },
        Operand::Condition(condition) => holds(condition, properties)?.map(Value::Boolean),
    })
}

/// What is compared with a number or a boolean is made one. Where no conversion is known the left is less.
fn compare(left: Value<'_>, right: Value<'_>) -> Result<Ordering, Incomparable> {
    use Value::{Boolean, Double, Integer, Long, Text};
    Ok(match (left, right) {
        (Text(left), Text(right)) => left.cmp(right),
        (Boolean(left), Boolean(right)) => left.cmp(&right),
        (Text(left), Boolean(right)) => left.eq_ignore_ascii_case("true").cmp(&right),
        // The other way round RocketMQ fails.
        (Boolean(_), Text(_)) => return Err(Incomparable),
        (Boolean(_), _) | (_, Boolean(_)) => Ordering::Less,

        (Text(left), Integer(right)) => integer(left)?.cmp(&right),
        (Integer(left), Text(right)) => left.cmp(&integer(right)?),
        (Text(left), Long(right)) => long(left)?.cmp(&right),
        (Long(left), Text(right)) => left.cmp(&long(right)?),
        (Text(left), Double(right)) => compare_doubles(double(left)?, right),
        (Double(left), Text(right)) => compare_doubles(left, double(right)?),

        (Integer(left), Integer(right)) => left.cmp(&right),
        (Integer(left), Long(right)) => i64::from(left).cmp(&right),
        (Long(left), Integer(right)) => left.cmp(&i64::from(right)),
        (Long(left), Long(right)) => left.cmp(&right),
        (Double(left), Double(right)) => compare_doubles(left, right),
        (Integer(left), Double(right)) => compare_doubles(f64::from(left), right),
        (Double(left), Integer(right)) => compare_doubles(left, f64::from(right)),
        (Long(left), Double(right)) => compare_doubles(left as f64, right),
        (Double(left), Long(right)) => compare_doubles(left, right as f64),
    })
}

fn integer(text: &str) -> Result<i32, Incomparable> {
    text.parse().map_err(|_| Incomparable)
}

fn long(text: &str) -> Result<i64, Incomparable> {
    text.parse().map_err(|_| Incomparable)
}

/// As Java reads a double: blanks around it, an `f` or `d` behind it, and its own words for what is no number. Its
/// hexadecimal ones are not read.
fn double(text: &str) -> Result<f64, Incomparable> {
    let text = text.trim_matches(|letter| letter <= ' ');
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    match digits {
        "NaN" => Ok(f64::NAN),
        "Infinity" => Ok(sign * f64::INFINITY),
        _ if digits.starts_with(|first: char| first.is_ascii_digit() || first == '.') => {
            let number = digits.strip_suffix(['f', 'F', 'd', 'D']).unwrap_or(digits);
            number.parse::<f64>().map(|number| sign * number).map_err(|_| Incomparable)
        }
        _ => Err(Incomparable),
    }
}

/// In Java's order: -0 before 0, and what is no number behind all, equal to itself.
fn compare_doubles(left: f64, right: f64) -> Ordering {
    let canonical = |number: f64| if number.is_nan() { f64::NAN } else { number };
    canonical(left).total_cmp(&canonical(right))
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Order::Less => ordering.is_lt(),
            Order::LessOrEqual => ordering.is_le(),
            Order::Greater => ordering.is_gt(),
            Order::GreaterOrEqual => ordering.is_ge(),
        }
    }
}

impl Search {
    fn finds(self, value: &str, text: &str) -> bool {
        match self {
            Search::Contains => value.contains(text),
            Search::StartsWith => value.starts_with(text),
            Search::EndsWith => value.ends_with(text),
        }
    }
}
