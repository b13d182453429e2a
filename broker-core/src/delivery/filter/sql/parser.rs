//! RocketMQ's grammar: an expression becomes a condition, or an error that says what is wrong and where.
//!
//! From loose to tight: OR; AND; `=`, `<>`, IS [NOT] NULL; order, [NOT] BETWEEN, IN and the searches; signs and NOT.
//! Each level chains from the left. It refuses what could never be compared, as RocketMQ does, and what is too large.

use super::evaluation::{Condition, Operand, Order, Search, holds};
use super::lexer::{Lexer, Token};
use super::{DEPTH_MAX, NAMES_MAX, SqlError, TERMS_MAX};

/// Most characters of the expression that an error repeats.
const QUOTED_CHARS_MAX: usize = 32;

/// The properties that the expression names, and its condition. What follows a complete condition is ignored.
pub(super) fn parse(text: &str) -> Result<(Vec<Box<str>>, Condition), SqlError> {
    let mut lexer = Lexer::new(text);
    let (token, at) = lexer.token()?;
    if token == Token::End {
        return Err(error(0, "there is nothing but blanks"));
    }
    let mut parser = Parser { text, lexer, token, at, depth: 0, terms: 0, names: Vec::new() };
    let whole = parser.either()?;
    let condition = parser.condition(whole)?;
    Ok((parser.names, condition))
}

fn error(at: usize, reason: impl Into<String>) -> SqlError {
    SqlError { at, reason: reason.into() }
}

struct Parser<'a> {
    text: &'a str,
    lexer: Lexer<'a>,
    /// Not consumed yet.
    token: Token<'a>,
    at: usize,
    depth: usize,
    terms: usize,
    names: Vec<Box<str>>,
}

/// A part of the expression that has been read.
struct Part {
    operand: Operand,
    at: usize,
}

impl Parser<'_> {
    fn either(&mut self) -> Result<Part, SqlError> {
        self.chain(Token::Or, Condition::Or, Self::both)
    }

    fn both(&mut self) -> Result<Part, SqlError> {
        self.chain(Token::And, Condition::And, Self::equality)
    }

    /// Conditions with one word between them; a part alone stays what it is.
    fn chain(
        &mut self,
        word: Token<'static>,
        join: fn(Vec<Condition>) -> Condition,
        part: fn(&mut Self) -> Result<Part, SqlError>,
    ) -> Result<Part, SqlError> {
        let first = part(self)?;
        if self.token != word {
            return Ok(first);
        }
        let at = first.at;
        let mut conditions = vec![self.condition(first)?];
        while self.accept(word)? {
            let next = part(self)?;
            conditions.push(self.condition(next)?);
        }
        Ok(Part { operand: Operand::Condition(Box::new(join(conditions))), at })
    }

    fn equality(&mut self) -> Result<Part, SqlError> {
        let mut left = self.comparison()?;
        loop {
            let sign_at = self.at;
            let condition = match self.token {
                Token::Equal | Token::NotEqual => {
                    let negated = self.token == Token::NotEqual;
                    self.advance()?;
                    let right = self.comparison()?;
                    let equal = equal(&mut left.operand, left.at, right, sign_at)?;
                    if negated { Condition::Not(Box::new(equal)) } else { equal }
                }
                Token::Is => {
                    self.advance()?;
                    let negated = self.accept(Token::Not)?;
                    self.expect(Token::Null, if negated { "NULL" } else { "NULL or NOT NULL" })?;
                    let is_null = Condition::IsNull(take(&mut left.operand));
                    if negated { Condition::Not(Box::new(is_null)) } else { is_null }
                }
                _ => return Ok(left),
            };
            self.count_term(left.at)?;
            left.operand = Operand::Condition(Box::new(condition));
        }
    }

    fn comparison(&mut self) -> Result<Part, SqlError> {
        let mut left = self.unary()?;
        loop {
            let word_at = self.at;
            let order = match self.token {
                Token::Less => Some(Order::Less),
                Token::LessOrEqual => Some(Order::LessOrEqual),
                Token::Greater => Some(Order::Greater),
                Token::GreaterOrEqual => Some(Order::GreaterOrEqual),
                Token::Not | Token::Between | Token::In | Token::Contains | Token::StartsWith | Token::EndsWith => None,
                _ => return Ok(left),
            };
            let condition = if let Some(order) = order {
                self.advance()?;
                let right = self.unary()?;
                check_ordered(&left)?;
                check_ordered(&right)?;
                Condition::Order { order, left: take(&mut left.operand), right: right.operand }
            } else {
                let negated = self.accept(Token::Not)?;
                self.test(&mut left, negated, word_at)?
            };
            self.count_term(left.at)?;
            left.operand = Operand::Condition(Box::new(condition));
        }
    }

    /// What is said of `left` by a word, behind its NOT.
    fn test(&mut self, left: &mut Part, negated: bool, word_at: usize) -> Result<Condition, SqlError> {
        let search = match self.token {
            Token::Between => {
                self.advance()?;
                let low = self.unary()?;
                self.expect(Token::And, "AND")?;
                let high = self.unary()?;
                return between(left, low, high, negated);
            }
            Token::In => {
                self.advance()?;
                let Operand::Property(property) = left.operand else {
                    return Err(error(word_at, "IN asks about a property, and no property stands on its left"));
                };
                let texts = self.texts()?;
                return Ok(Condition::In { property, texts, negated });
            }
            Token::Contains => Search::Contains,
            Token::StartsWith => Search::StartsWith,
            Token::EndsWith => Search::EndsWith,
            _ => return Err(self.unexpected("BETWEEN, IN, CONTAINS, STARTSWITH or ENDSWITH behind NOT")),
        };
        self.advance()?;
        let text = self.string()?;
        Ok(Condition::Search { operand: take(&mut left.operand), search, text, negated })
    }

    /// Strings in parentheses, sorted.
    fn texts(&mut self) -> Result<Vec<Box<str>>, SqlError> {
        self.expect(Token::Open, "'('")?;
        let mut texts = vec![self.string()?];
        while self.accept(Token::Comma)? {
            texts.push(self.string()?);
        }
        self.expect(Token::Close, "',' or ')'")?;
        texts.sort_unstable();
        Ok(texts)
    }

    fn string(&mut self) -> Result<Box<str>, SqlError> {
        let Token::Text(text) = self.token else { return Err(self.unexpected("a string in single quotes")) };
        self.advance()?;
        Ok(unquoted(text))
    }

    fn unary(&mut self) -> Result<Part, SqlError> {
        let sign = self.token;
        if !matches!(sign, Token::Plus | Token::Minus | Token::Not) {
            return self.primary();
        }
        let at = self.at;
        self.descend()?;
        self.advance()?;
        let part = self.unary()?;
        self.depth -= 1;
        let operand = match sign {
            Token::Minus => Operand::Negative(Box::new(part.operand)),
            Token::Not => Operand::Condition(Box::new(Condition::Not(Box::new(self.condition(part)?)))),
            _ => part.operand,
        };
        Ok(Part { operand, at })
    }

    fn primary(&mut self) -> Result<Part, SqlError> {
        let at = self.at;
        let operand = match self.token {
            Token::Open => {
                self.descend()?;
                self.advance()?;
                let part = self.either()?;
                self.expect(Token::Close, "')'")?;
                self.depth -= 1;
                return Ok(Part { operand: part.operand, at });
            }
            Token::Name(name) => Operand::Property(self.property(name)?),
            Token::Text(text) => Operand::Text(unquoted(text)),
            Token::Integer(digits) => integer(digits).ok_or_else(|| error(at, "the number does not fit in 64 bits"))?,
            Token::Float(digits) => float(digits).map_err(|reason| error(at, reason))?,
            Token::True => constant(Some(true)),
            Token::False => constant(Some(false)),
            Token::Null => constant(None),
            _ => return Err(self.unexpected("a property, a string, a number, TRUE, FALSE, NULL or '('")),
        };
        self.advance()?;
        Ok(Part { operand, at })
    }

    /// The place of a property among the names; a name is kept once.
    fn property(&mut self, name: &str) -> Result<usize, SqlError> {
        if let Some(known) = self.names.iter().position(|known| &**known == name) {
            return Ok(known);
        }
        if self.names.len() == NAMES_MAX {
            return Err(error(self.at, format!("it names more than {NAMES_MAX} properties")));
        }
        self.names.push(name.into());
        Ok(self.names.len() - 1)
    }

    /// A part where a condition must stand.
    fn condition(&mut self, part: Part) -> Result<Condition, SqlError> {
        let what = match part.operand {
            Operand::Condition(condition) => return Ok(*condition),
            Operand::Property(property) => {
                self.count_term(part.at)?;
                return Ok(Condition::Bare(property));
            }
            Operand::Text(_) => "a string",
            Operand::Integer(_) | Operand::Long(_) | Operand::Double(_) => "a number",
            Operand::Negative(_) => "what stands behind a sign",
        };
        Err(error(part.at, format!("{what} is no condition")))
    }

    fn count_term(&mut self, at: usize) -> Result<(), SqlError> {
        self.terms += 1;
        if self.terms <= TERMS_MAX {
            return Ok(());
        }
        Err(error(at, format!("it compares more than {TERMS_MAX} times")))
    }

    fn descend(&mut self) -> Result<(), SqlError> {
        self.depth += 1;
        if self.depth <= DEPTH_MAX {
            return Ok(());
        }
        Err(error(self.at, format!("it nests deeper than {DEPTH_MAX}")))
    }

    fn advance(&mut self) -> Result<(), SqlError> {
        (self.token, self.at) = self.lexer.token()?;
        Ok(())
    }

    fn accept(&mut self, token: Token<'static>) -> Result<bool, SqlError> {
        let is_there = self.token == token;
        if is_there {
            self.advance()?;
        }
        Ok(is_there)
    }

    fn expect(&mut self, token: Token<'static>, what: &str) -> Result<(), SqlError> {
        if self.accept(token)? { Ok(()) } else { Err(self.unexpected(what)) }
    }

    fn unexpected(&self, expected: &str) -> SqlError {
        if self.token == Token::End {
            return error(self.at, format!("expected {expected}, but the expression ends"));
        }
        let found = &self.text[self.at..self.lexer.at()];
        let shown: String = found.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect();
        let cut = if found.chars().count() > QUOTED_CHARS_MAX { "..." } else { "" };
        error(self.at, format!("expected {expected}, found {shown}{cut}"))
    }
}

fn equal(left: &mut Operand, left_at: usize, right: Part, sign_at: usize) -> Result<Condition, SqlError> {
    let is_null = |operand: &Operand| *operand == constant(None);
    for (operand, at) in [(&*left, left_at), (&right.operand, right.at)] {
        if is_null(operand) {
            return Err(error(at, "NULL equals nothing: ask with IS NULL or IS NOT NULL"));
        }
    }
    let is_truth =
        |operand: &Operand| matches!(operand, Operand::Condition(it) if matches!(**it, Condition::Constant(_)));
    if is_truth(left) && is_plain(&right.operand) {
        return Err(error(sign_at, "TRUE and FALSE are not compared with a string or a number"));
    }
    Ok(Condition::Equal(take(left), right.operand))
}

fn between(value: &mut Part, low: Part, high: Part, negated: bool) -> Result<Condition, SqlError> {
    for part in [&*value, &low, &high] {
        check_ordered(part)?;
    }
    // RocketMQ does not look at the bounds of a NOT BETWEEN.
    if !negated && is_plain(&low.operand) && is_plain(&high.operand) {
        let no_properties = &[];
        let bounds = Condition::Order { order: Order::Less, left: high.operand.clone(), right: low.operand.clone() };
        if holds(&bounds, no_properties) == Ok(Some(true)) {
            return Err(error(low.at, "the lower bound of BETWEEN is greater than the upper one"));
        }
    }
    Ok(Condition::Between { value: take(&mut value.operand), low: low.operand, high: high.operand, negated })
}

/// Order is asked of numbers, and of properties that may hold one.
fn check_ordered(part: &Part) -> Result<(), SqlError> {
    let what = match &part.operand {
        Operand::Property(_) | Operand::Integer(_) | Operand::Long(_) | Operand::Double(_) | Operand::Negative(_) => {
            return Ok(());
        }
        Operand::Text(_) => "a string",
        Operand::Condition(condition) => match **condition {
            Condition::Constant(None) => "NULL",
            Condition::Constant(Some(_)) => "TRUE or FALSE",
            _ => "a condition",
        },
    };
    Err(error(part.at, format!("{what} is neither less nor greater than anything: order is for numbers")))
}

/// A string or a number of the expression itself.
fn is_plain(operand: &Operand) -> bool {
    matches!(operand, Operand::Text(_) | Operand::Integer(_) | Operand::Long(_) | Operand::Double(_))
}

fn constant(truth: Option<bool>) -> Operand {
    Operand::Condition(Box::new(Condition::Constant(truth)))
}

/// Leaves something cheap behind that is written over at once.
fn take(operand: &mut Operand) -> Operand {
    std::mem::replace(operand, Operand::Integer(0))
}

fn unquoted(text: &str) -> Box<str> {
    text.replace("''", "'").into()
}

/// The type decides how a property beside it is read: 32 bits where they are enough, whatever suffix it has.
fn integer(digits: &str) -> Option<Operand> {
    let number: i64 = digits.parse().ok()?;
    Some(i32::try_from(number).map_or(Operand::Long(number), Operand::Integer))
}

fn float(digits: &str) -> Result<Operand, &'static str> {
    let number: f64 = digits.parse().map_err(|_| "the number cannot be read")?;
    if number.is_infinite() {
        return Err("the number is greater than the greatest double");
    }
    if number == 0.0 {
        return Err("the number is less than the least positive double: write 0");
    }
    Ok(Operand::Double(number))
}
