//! RocketMQ's `config/*.json`: read in the dialect that fastjson writes and reads, written so that it reads them.
//!
//! Beside JSON the dialect has keys without quotes (all integer keys, and names), objects and arrays as keys, single
//! quotes, `\x41` and octal escapes, commas too many, and letters behind numbers. A key that is an object becomes its
//! own compact JSON text. What is written is plain JSON but for integer keys, which RocketMQ writes without quotes.
//!
//! Invariant: a file that was there whole is there whole after any kill: as it was, or as `.bak`.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Number, Value};

use crate::store::error::StoreError;
use crate::store::files::Files;

/// Deepest nesting that is read; RocketMQ's files have six levels.
const DEPTH_MAX: usize = 64;
/// Longest text that is read.
pub const TEXT_BYTES_MAX: usize = 1 << 30;

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("byte {at}: {reason}")]
pub struct JsonError {
    pub at: usize,
    pub reason: &'static str,
}

/// Reads one value in fastjson's dialect; nothing but white space may follow it.
pub fn parse(text: &[u8]) -> Result<Value, JsonError> {
    let mut reader = Reader { text, at: 0 };
    if text.len() > TEXT_BYTES_MAX {
        return Err(JsonError { at: TEXT_BYTES_MAX, reason: "the text is too long" });
    }
    if text.starts_with(b"\xEF\xBB\xBF") {
        reader.at = 3;
    }
    let value = reader.value(0)?;
    reader.skip_space();
    if reader.at < text.len() {
        return Err(reader.refuse("something follows the end"));
    }
    Ok(value)
}

/// Writes a value as RocketMQ does, tabs and all. `integer_keys` are paths of objects whose keys are integers, `*` for
/// any name: `["offsetTable", "*"]`. Keys there that are no integers keep their quotes.
pub fn write(value: &Value, integer_keys: &[&[&str]]) -> String {
    let mut text = String::new();
    write_value(&mut text, value, &mut Vec::new(), integer_keys);
    text.push('\n');
    text
}

/// Reads a file, or its `.bak` if the file is missing, empty or broken; `None` if neither is there. Both broken is an
/// error that names the file: a broker without its topics must not start.
pub fn read_file(files: &dyn Files, path: &Path) -> Result<Option<Value>, StoreError> {
    let mut broken: Option<StoreError> = None;
    for path in [path.to_path_buf(), backup_of(path)] {
        let bytes = match files.read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(StoreError::io(format!("reading {}", path.display()), &error)),
        };
        match parse(&bytes) {
            Ok(value) => {
                if broken.is_some() {
                    tracing::warn!(file = %path.display(), "the file itself is broken: its last good copy was read");
                }
                return Ok(Some(value));
            }
            Err(error) => {
                let damaged = StoreError::Damaged { file: path, offset: error.at as u64, reason: error.reason.into() };
                broken = broken.or(Some(damaged));
            }
        }
    }
    broken.map_or(Ok(None), Err)
}

/// Puts a new content in place; the one before, if it is whole, becomes `.bak` first.
pub fn replace_file(files: &dyn Files, path: &Path, text: &str) -> Result<(), StoreError> {
    let io = |error: io::Error| StoreError::io(format!("writing {}", path.display()), &error);
    match files.read(path) {
        Ok(before) if parse(&before).is_ok() => files.replace(&backup_of(path), &before, false).map_err(io)?,
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(error)),
    }
    files.replace(path, text.as_bytes(), false).map_err(io)
}

fn backup_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_os_string();
    name.push(".bak");
    name.into()
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn refuse(&self, reason: &'static str) -> JsonError {
        JsonError { at: self.at, reason }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | 0x0C | 0x08)) {
            self.at += 1;
        }
    }

    fn skip_space_and_commas(&mut self) {
        self.skip_space();
        while self.peek() == Some(b',') {
            self.at += 1;
            self.skip_space();
        }
    }

    fn value(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.skip_space();
        if depth > DEPTH_MAX {
            return Err(self.refuse("it is nested too deep"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(quote @ (b'"' | b'\'')) => Ok(Value::String(self.string(quote)?)),
            Some(b'-' | b'+' | b'.' | b'0'..=b'9') => self.number(),
            Some(byte) if is_name(byte) => {
                let at = self.at;
                let value = match self.name() {
                    "true" => Value::Bool(true),
                    "false" => Value::Bool(false),
                    "null" | "NaN" | "undefined" => Value::Null,
                    _ => return Err(JsonError { at, reason: "this word is no value" }),
                };
                Ok(value)
            }
            Some(_) => Err(self.refuse("no value begins like this")),
            None => Err(self.refuse("a value is missing at the end")),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut members = Map::new();
        loop {
            self.skip_space_and_commas();
            let key = match self.peek() {
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(members));
                }
                Some(quote @ (b'"' | b'\'')) => self.string(quote)?,
                Some(b'{' | b'[') => self.value(depth + 1)?.to_string(),
                Some(b'-' | b'0'..=b'9') => self.number()?.to_string(),
                Some(byte) if is_name(byte) => self.name().to_string(),
                Some(_) => return Err(self.refuse("no key begins like this")),
                None => return Err(self.refuse("an object does not end")),
            };
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.refuse("a key without its value"));
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            members.insert(key, value);
            self.end_of_member(b'}')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        loop {
            self.skip_space_and_commas();
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                None => return Err(self.refuse("an array does not end")),
                Some(_) => items.push(self.value(depth + 1)?),
            }
            self.end_of_member(b']')?;
        }
    }

    fn end_of_member(&mut self, end: u8) -> Result<(), JsonError> {
        self.skip_space();
        match self.peek() {
            Some(byte) if byte == b',' || byte == end => Ok(()),
            Some(_) => Err(self.refuse("a comma is missing")),
            None => Err(self.refuse("the text ends early")),
        }
    }

    fn name(&mut self) -> &str {
        let start = self.at;
        while self.peek().is_some_and(|byte| is_name(byte) || byte.is_ascii_digit()) {
            self.at += 1;
        }
        std::str::from_utf8(&self.text[start..self.at]).expect("a name is ASCII")
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let start = self.at;
        while self.peek().is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
            self.at += 1;
        }
        let digits = std::str::from_utf8(&self.text[start..self.at]).expect("digits are ASCII");
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        let number = match digits.parse::<i64>() {
            Ok(whole) => Some(Number::from(whole)),
            Err(_) => digits.parse::<u64>().ok().map(Number::from),
        };
        let number = number.or_else(|| digits.parse::<f64>().ok().and_then(Number::from_f64));
        // Written behind numbers of known types: byte, short, long, float, double.
        if self.peek().is_some_and(|byte| matches!(byte, b'B' | b'S' | b'L' | b'F' | b'D')) {
            self.at += 1;
        }
        number.map(Value::Number).ok_or(JsonError { at: start, reason: "this is no number" })
    }

    fn string(&mut self, quote: u8) -> Result<String, JsonError> {
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            let start = self.at;
            while self.peek().is_some_and(|byte| byte != quote && byte != b'\\') {
                self.at += 1;
            }
            bytes.extend_from_slice(&self.text[start..self.at]);
            match self.peek() {
                None => return Err(self.refuse("a text does not end")),
                Some(b'\\') => {
                    let escaped = self.escaped()?;
                    bytes.extend_from_slice(escaped.encode_utf8(&mut [0; 4]).as_bytes());
                }
                Some(_) => {
                    self.at += 1;
                    return String::from_utf8(bytes).map_err(|_| JsonError { at: start, reason: "this is not UTF-8" });
                }
            }
        }
    }

    /// The character behind a backslash.
    fn escaped(&mut self) -> Result<char, JsonError> {
        self.at += 1;
        let escape = self.peek().ok_or(self.refuse("a text does not end"))?;
        self.at += 1;
        Ok(match escape {
            b'n' => '\n',
            b't' => '\t',
            b'r' => '\r',
            b'b' => '\u{8}',
            b'f' | b'F' => '\u{C}',
            b'v' => '\u{B}',
            b'0'..=b'7' => char::from(escape - b'0'),
            b'"' | b'\'' | b'\\' | b'/' => char::from(escape),
            b'x' => char::from(u8::try_from(self.hex(2)?).expect("two digits")),
            b'u' => {
                let unit = self.hex(4)?;
                let pair = match unit {
                    0xD800..0xDC00 if self.text[self.at..].starts_with(b"\\u") => {
                        self.at += 2;
                        let low = self.hex(4)?;
                        0x10000 + ((unit - 0xD800) << 10) + low.wrapping_sub(0xDC00)
                    }
                    _ => unit,
                };
                // Half a pair is no character in any encoding.
                char::from_u32(pair).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => {
                self.at -= 1;
                return Err(self.refuse("an unknown escape"));
            }
        })
    }

    fn hex(&mut self, digits: usize) -> Result<u32, JsonError> {
        let text = self.text.get(self.at..self.at + digits).ok_or(self.refuse("a text does not end"))?;
        let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let value = u32::from_str_radix(text.ok_or(self.refuse("no hexadecimal digits"))?, 16).expect("hex digits");
        self.at += digits;
        Ok(value)
    }
}

/// May a name without quotes begin so?
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$' | b'@')
}

fn write_value(text: &mut String, value: &Value, path: &mut Vec<String>, integer_keys: &[&[&str]]) {
    let indent = |text: &mut String, depth: usize| {
        text.push('\n');
        (0..depth).for_each(|_| text.push('\t'));
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            let fits = |pattern: &&[&str]| {
                pattern.len() == path.len() && pattern.iter().zip(&*path).all(|(one, name)| *one == "*" || one == name)
            };
            let integers = integer_keys.iter().any(fits);
            text.push('{');
            for (at, (key, value)) in members.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                indent(text, path.len() + 1);
                match integers && key.parse::<i64>().is_ok_and(|number| number.to_string() == *key) {
                    true => text.push_str(key),
                    false => text.push_str(&Value::String(key.clone()).to_string()),
                }
                text.push(':');
                path.push(key.clone());
                write_value(text, value, path, integer_keys);
                path.pop();
            }
            indent(text, path.len());
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(',');
                }
                write_value(text, item, path, integer_keys);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::simulated_files::SimulatedFiles;
    use proptest::prelude::*;
    use serde_json::json;

    const PATH: &str = "/data/config/topics.json";

    #[test]
    fn the_dialect_is_read() {
        let text = br#"{ offsetTable:{"orders@billing":{0:123,1:456,-3:7L}, 'single@quotes':{},,},
            {"brokerName":"b","queueId":2,"topic":"t"}:5, [1,2]:"array key", dataVersion:{counter:1,"stateVersion":0},
            "escapes":"\u0041\x42\"\'\/\n\uD83D\uDE00\uD800", "numbers":[1.5e3,-2,18446744073709551615,.5], on:true, off:null, }"#;
        let expected = json!({
            "offsetTable": {"orders@billing": {"0": 123, "1": 456, "-3": 7}, "single@quotes": {}},
            r#"{"brokerName":"b","queueId":2,"topic":"t"}"#: 5, "[1,2]": "array key",
            "dataVersion": {"counter": 1, "stateVersion": 0},
            "escapes": "AB\"'/\n\u{1F600}\u{FFFD}", "numbers": [1500.0, -2, u64::MAX, 0.5], "on": true, "off": null,
        });
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse(b"\xEF\xBB\xBF {}\r\n").unwrap(), json!({}));
    }

    #[test]
    fn what_is_broken_is_refused_with_its_place() {
        for (text, at) in [
            (&b""[..], 0),
            (b"   ", 3),
            (b"{\"a\":1", 6),
            (b"{\"a\"", 4),
            (b"{\"a\":", 5),
            (b"{\"a", 3),
            (b"[1", 2),
            (b"{a:1}x", 5),
            (b"{a:1 b:2}", 5),
            (b"{a:wrong}", 3),
            (b"{a:1-2}", 3),
            (b"\"\\q\"", 2),
            (b"\"\\u12g4\"", 3),
            (b"\"\xff\"", 1),
            (b"{:1}", 1),
            (b"\0", 0),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.at, at, "{}: {error}", String::from_utf8_lossy(text));
        }
        assert!(parse("[".repeat(DEPTH_MAX).as_bytes()).unwrap_err().reason.contains("does not end"));
        assert!(parse("[".repeat(100_000).as_bytes()).unwrap_err().reason.contains("deep"));
        assert!(parse("{[".repeat(100_000).as_bytes()).unwrap_err().reason.contains("deep"));
    }

    #[test]
    fn integer_keys_lose_their_quotes_where_they_are_meant_and_only_there() {
        let value =
            json!({"offsetTable": {"7": {"0": 1, "x": 2, "01": 3}}, "dataVersion": {"counter": 1}, "list": [1, {}]});
        let text = write(&value, &[&["offsetTable", "*"]]);
        assert_eq!(
            text,
            "{\n\t\"dataVersion\":{\n\t\t\"counter\":1\n\t},\n\t\"list\":[1,{}],\n\t\"offsetTable\":{\n\t\t\"7\":{\n\t\t\t0:1,\n\t\t\t\"01\":3,\n\t\t\t\"x\":2\n\t\t}\n\t}\n}\n"
        );
        assert_eq!(parse(text.as_bytes()).unwrap(), value);
    }

    fn disk() -> SimulatedFiles {
        let files = SimulatedFiles::new();
        files.create_dir(Path::new("/data/config")).unwrap();
        files
    }

    fn put(files: &SimulatedFiles, path: &str, text: &str) {
        files.replace(Path::new(path), text.as_bytes(), false).unwrap();
    }

    #[test]
    fn the_copy_stands_in_for_a_broken_file_and_two_broken_ones_are_an_error() {
        let files = disk();
        let (path, backup) = (Path::new(PATH), "/data/config/topics.json.bak");
        assert_eq!(read_file(&files, path).unwrap(), None);
        put(&files, backup, "{a:1}");
        assert_eq!(read_file(&files, path).unwrap(), Some(json!({"a": 1})));
        for broken in ["", "{a:", "{a:2}}"] {
            put(&files, PATH, broken);
            assert_eq!(read_file(&files, path).unwrap(), Some(json!({"a": 1})), "{broken}");
        }
        put(&files, backup, "");
        let error = read_file(&files, path).unwrap_err();
        assert!(matches!(&error, StoreError::Damaged { file, offset: 5, .. } if file == path), "{error}");
        put(&files, PATH, "{a:2}");
        assert_eq!(read_file(&files, path).unwrap(), Some(json!({"a": 2})));
    }

    /// Rule D10 for one file: killed or powered off after any number of changes, a whole content is there.
    #[test]
    fn d10_a_replaced_file_is_the_old_or_the_new_one() {
        let path = Path::new(PATH);
        let mut seen = std::collections::BTreeSet::new();
        for operations in 0..40 {
            let files = disk();
            put(&files, PATH, "{a:1}");
            files.halt_after(operations);
            let done = replace_file(&files, path, "{a:2}").is_ok();
            for files in [files.kill(), files.power_cut(operations), files.power_cut(operations + 100)] {
                let value = read_file(&files, path).unwrap().unwrap();
                let version = value["a"].as_i64().unwrap();
                assert!(version == 2 || (version == 1 && !done), "{operations}: {value}");
                seen.insert((version, done));
            }
        }
        assert!(seen.contains(&(1, false)) && seen.contains(&(2, true)), "{seen:?}");
        let files = disk();
        put(&files, PATH, "{a:1}");
        replace_file(&files, path, "{a:2}").unwrap();
        assert_eq!(files.read(Path::new("/data/config/topics.json.bak")).unwrap(), b"{a:1}");
        // A broken file never replaces the good copy.
        put(&files, PATH, "{");
        replace_file(&files, path, "{a:3}").unwrap();
        assert_eq!(files.read(Path::new("/data/config/topics.json.bak")).unwrap(), b"{a:1}");
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,12}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 5, |inner| {
            let key = prop_oneof!["[0-9]{1,3}", ".{0,8}"];
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((key, inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(value in any_json()) {
            for integer_keys in [&[][..], &[&[][..], &["*"][..], &["*", "*"][..]]] {
                prop_assert_eq!(&parse(write(&value, integer_keys).as_bytes()).unwrap(), &value);
            }
            prop_assert_eq!(&parse(value.to_string().as_bytes()).unwrap(), &value);
        }

        #[test]
        fn no_bytes_make_it_panic(text in "[\\[\\]{}:,\"'\\\\ux0-9a-f\u{e9} .eE+-]{0,60}", bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(text.as_bytes());
            let _ = parse(&bytes);
        }
    }
}
