//! An expression as tokens, one at a time: what lies behind a complete condition is never looked at.

use super::SqlError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Not,
    And,
    Or,
    Between,
    In,
    True,
    False,
    Null,
    Is,
    Contains,
    StartsWith,
    EndsWith,
    /// Digits alone.
    Integer(&'a str),
    Float(&'a str),
    /// What stands between the quotes, each quote in it still doubled.
    Text(&'a str),
    Name(&'a str),
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Open,
    Close,
    Comma,
    Plus,
    Minus,
    End,
}

const KEYWORDS: [(&str, Token<'static>); 12] = [
    ("NOT", Token::Not),
    ("AND", Token::And),
    ("OR", Token::Or),
    ("BETWEEN", Token::Between),
    ("IN", Token::In),
    ("TRUE", Token::True),
    ("FALSE", Token::False),
    ("NULL", Token::Null),
    ("IS", Token::Is),
    ("CONTAINS", Token::Contains),
    ("STARTSWITH", Token::StartsWith),
    ("ENDSWITH", Token::EndsWith),
];

/// Longer ones before their beginnings.
const SIGNS: [(&str, Token<'static>); 11] = [
    ("<>", Token::NotEqual),
    ("<=", Token::LessOrEqual),
    (">=", Token::GreaterOrEqual),
    ("<", Token::Less),
    (">", Token::Greater),
    ("=", Token::Equal),
    ("(", Token::Open),
    (")", Token::Close),
    (",", Token::Comma),
    ("+", Token::Plus),
    ("-", Token::Minus),
];

pub(super) struct Lexer<'a> {
    text: &'a str,
    /// Where the next token is looked for.
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        Lexer { text, at: 0 }
    }

    /// The next token and where it begins.
    pub(super) fn token(&mut self) -> Result<(Token<'a>, usize), SqlError> {
        self.skip_blanks();
        let at = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok((Token::End, at)) };
        let (token, len) = match first {
            '\'' => self.string()?,
            'a'..='z' | 'A'..='Z' | '_' | '$' => word(rest),
            '0'..='9' | '.' => number(rest).ok_or_else(|| self.unknown(first))?,
            _ => {
                let known = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign));
                known.map(|(sign, token)| (*token, sign.len())).ok_or_else(|| self.unknown(first))?
            }
        };
        self.at += len;
        Ok((token, at))
    }

    /// Where the last token ended.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// White space and comments. One that does not end is none: `--` without an end of its line is two signs.
    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\x0C']).len();
            let comment = if rest.starts_with("--") {
                rest.find(['\n', '\r']).map(|end| end + 1)
            } else if let Some(inside) = rest.strip_prefix("/*") {
                inside.find("*/").map(|end| end + 4)
            } else {
                None
            };
            match blank.max(comment.unwrap_or(0)) {
                0 => return,
                len => self.at += len,
            }
        }
    }

    fn string(&self) -> Result<(Token<'a>, usize), SqlError> {
        let inside = &self.rest()[1..];
        let mut end = 0;
        while let Some(quote) = inside[end..].find('\'') {
            end += quote;
            if !inside[end + 1..].starts_with('\'') {
                return Ok((Token::Text(&inside[..end]), end + 2));
            }
            end += 2;
        }
        Err(SqlError { at: self.at, reason: "the string that begins here has no end".into() })
    }

    fn unknown(&self, found: char) -> SqlError {
        let hint = match found {
            '"' => ": strings stand in single quotes",
            '!' => ": not equal is '<>'",
            '/' if self.rest().starts_with("/*") => ": the comment that begins here has no end",
            _ => "",
        };
        SqlError { at: self.at, reason: format!("unknown character '{}'{hint}", found.escape_debug()) }
    }
}

fn word(rest: &str) -> (Token<'_>, usize) {
    let len = rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')).count();
    let word = &rest[..len];
    let keyword = KEYWORDS.iter().find(|(keyword, _)| keyword.eq_ignore_ascii_case(word));
    (keyword.map_or(Token::Name(word), |(_, token)| *token), len)
}

/// The longest number that begins here; `None` for a dot alone.
fn number(rest: &str) -> Option<(Token<'_>, usize)> {
    let bytes = rest.as_bytes();
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    // Of an exponent that begins there, 0 if none does.
    let exponent = |from: usize| {
        let e = usize::from(matches!(bytes.get(from), Some(b'e' | b'E')));
        let sign = usize::from(matches!(bytes.get(from + e), Some(b'+' | b'-')));
        match digits(from + e + sign) {
            count if e == 1 && count > 0 => e + sign + count,
            _ => 0,
        }
    };
    let whole = digits(0);
    let has_dot = bytes.get(whole) == Some(&b'.');
    let fraction = if has_dot { 1 + digits(whole + 1) } else { 0 };
    let mantissa = whole + fraction;
    if mantissa == 1 && has_dot {
        return None;
    }
    let float = mantissa + exponent(mantissa);
    if has_dot || float > whole {
        return Some((Token::Float(&rest[..float]), float));
    }
    // No integer begins with 0 but 0 itself: `05` is 0, and then 5.
    let len = if bytes[0] == b'0' { 1 } else { whole };
    let suffix = usize::from(bytes[0] != b'0' && matches!(bytes.get(len), Some(b'l' | b'L')));
    Some((Token::Integer(&rest[..len]), len + suffix))
}
