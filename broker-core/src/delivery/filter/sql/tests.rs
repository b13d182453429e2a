//! What expressions mean, line by line of the reference, and evaluation against one written in another way.

use std::collections::HashMap;

use proptest::prelude::*;

use super::{DEPTH_MAX, NAMES_MAX, Sql, SqlError, TERMS_MAX};

fn property_string(properties: &[(&str, &str)]) -> Vec<u8> {
    properties.iter().flat_map(|(name, value)| format!("{name}\x01{value}\x02").into_bytes()).collect()
}

fn outcome(expression: &str, stored: &[u8]) -> &'static str {
    let sql = Sql::compile(expression).unwrap_or_else(|error| panic!("{expression}: {error} at {}", error.at));
    let truth = sql.evaluate(stored);
    assert_eq!(sql.matches(stored), truth == Ok(Some(true)), "{expression}");
    word(truth)
}

fn word<E>(truth: Result<Option<bool>, E>) -> &'static str {
    match truth {
        Ok(Some(true)) => "true",
        Ok(Some(false)) => "false",
        Ok(None) => "unknown",
        Err(_) => "fails",
    }
}

#[test]
fn each_line_of_the_reference() {
    let a = |value: &'static str| vec![("a", value)];
    let none = Vec::new;
    type Row = (&'static str, Vec<(&'static str, &'static str)>, &'static str);
    let rows: Vec<Row> = vec![
        // Grammar: precedence, chains from the left, keywords in any case, names as they are written.
        ("a = 'x' OR b = 'y' AND c = 'z'", a("x"), "true"),
        ("(a = 'x' OR b = 'y') AND c = 'z'", a("x"), "unknown"),
        ("a = 'x' and not (a = 'y') Or b is Null", a("x"), "true"),
        ("A = 'x'", a("x"), "unknown"),
        ("a = 'X'", a("x"), "false"),
        ("a = 'x' = TRUE", a("x"), "true"),
        ("a = 'x' = FALSE", a("x"), "false"),
        ("a = 'x' IS NULL", a("x"), "false"),
        ("a = 'x' IS NOT NULL IS NULL", none(), "false"),
        ("NOT NOT (a = 'x')", a("x"), "true"),
        ("TAGS = 'paid' AND KEYS CONTAINS 'k7'", vec![("KEYS", "k6 k7"), ("TAGS", "paid")], "true"),
        ("_a$1 = 'x'", vec![("_a$1", "x")], "true"),
        ("TRUE", none(), "true"),
        ("FALSE OR TRUE", none(), "true"),
        ("NULL", none(), "unknown"),
        // NOT binds tighter than everything beside it.
        ("NOT a = 'x'", a("x"), "fails"),
        ("NOT a = 'x'", none(), "unknown"),
        ("NOT a IS NULL", none(), "true"),
        ("NOT a IS NULL", a("x"), "false"),
        ("NOT a CONTAINS 'x'", a("x"), "false"),
        // Blanks and comments.
        ("a\t=\r\n'x'\x0C", a("x"), "true"),
        ("a /* b = 'y' ** / */ = -- c\n 'x'", a("x"), "true"),
        ("a -- c\r= 'x'", a("x"), "true"),
        // What follows a complete condition is ignored.
        ("a = 'x' foo", a("x"), "true"),
        ("a = 'x')", a("x"), "true"),
        ("a = 'x' 'y' !!!", a("x"), "true"),
        ("a = 'x' -- never ends", a("x"), "true"),
        ("a LIKE 'x%'", a("xy"), "false"),
        ("a + 1 > 5", a("10"), "false"),
        ("tag-x = 'y'", vec![("tag-x", "y"), ("tag", "y")], "false"),
        ("tag-x = 'y'", vec![("tag-x", "y")], "unknown"),
        ("a = 05", a("0"), "true"),
        ("a = 0L", a("0"), "true"),
        // Literals.
        ("a = 5L", a("5"), "true"),
        ("a = 5l AND a = 5.", a("5"), "true"),
        ("a = .5 AND a = 0.5 AND a = 5E-1 AND a = 05e-1", a("0.5"), "true"),
        ("a > 5E10", a("50000000001"), "true"),
        ("a = 'it''s'", a("it's"), "true"),
        ("a = ''''", a("'"), "true"),
        ("a = ''", a(""), "true"),
        ("a = -5 AND a = - 5 AND a = +-5", a("-5"), "true"),
        ("a = - -5", a("5"), "true"),
        ("a = -2147483648", a("-2147483648"), "true"),
        ("a > -9223372036854775807", a("0"), "true"),
        // A property beside a number is read as a number of that type.
        ("a > 5", a("10"), "true"),
        ("a > 5", a("5"), "false"),
        ("a >= 5 AND a <= 5 AND NOT (a < 5)", a("5"), "true"),
        ("a = 5", a("+5"), "true"),
        ("a > 5", a("10.5"), "fails"),
        ("a > 5.0", a("10.5"), "true"),
        ("a > 5.0", a(" 1e1d "), "true"),
        ("a > 5.0", a("Infinity"), "true"),
        ("a < 5.0", a("-Infinity"), "true"),
        ("a > 5.0", a("NaN"), "true"),
        ("a > 5.0", a("inf"), "fails"),
        ("a > 5.0", a("nan"), "fails"),
        ("a > 5.0", a("."), "fails"),
        ("a > 5.0", a(""), "fails"),
        ("a > 5", a(" 10"), "fails"),
        ("a > 5", a("x"), "fails"),
        ("a = 5", a("x"), "fails"),
        ("a <> 5", a("x"), "fails"),
        ("a > 5", a("3000000000"), "fails"),
        ("a > 3000000000", a("3000000001"), "true"),
        ("a < 3000000000", a("5"), "true"),
        ("5 < a", a("10"), "true"),
        ("5 = a", a("x"), "fails"),
        // What failed ends it all; what was decided before it is.
        ("a = 5 OR b = 'y'", vec![("a", "x"), ("b", "y")], "fails"),
        ("b = 'y' OR a = 5", vec![("a", "x"), ("b", "y")], "true"),
        ("b = 'n' AND a = 5", vec![("a", "x"), ("b", "y")], "false"),
        // Numbers are widened.
        ("5 = 5.0 AND 5000000000 > 5 AND 5000000000 = 5000000000.0 AND 1 < 1.5", none(), "true"),
        ("5 < 5000000000 AND 1.5 > 1 AND 5e9 < 5000000001 AND 2 = 2L", none(), "true"),
        ("9007199254740993 = 9007199254740992.0", none(), "true"),
        // Strings.
        ("a = b", vec![("a", "x"), ("b", "x")], "true"),
        ("a = b", vec![("a", "5"), ("b", "5.0")], "false"),
        ("a <> b", vec![("a", "x"), ("b", "y")], "true"),
        ("a > b", vec![("a", "10"), ("b", "9.5")], "true"),
        ("a >= b AND a <= b", vec![("a", "1e1"), ("b", "10")], "true"),
        ("a > b", vec![("a", "0.0"), ("b", "-0.0")], "true"),
        ("a > b", vec![("a", "x"), ("b", "1")], "fails"),
        ("a < b", vec![("a", "1"), ("b", "x")], "fails"),
        // Types without a conversion are not equal.
        ("5 = TRUE", none(), "false"),
        ("5 <> TRUE", none(), "true"),
        ("(a = 'x') = 5", a("x"), "false"),
        ("(a = 'x') = (b = 'y')", vec![("a", "x"), ("b", "y")], "true"),
        ("(a = 'x') = (b = 'y')", vec![("a", "x"), ("b", "z")], "false"),
        // Missing properties.
        ("m = 'x'", none(), "unknown"),
        ("m <> 'x'", none(), "unknown"),
        ("m > 1", none(), "unknown"),
        ("1 < m", none(), "unknown"),
        ("NOT (m = 'x')", none(), "unknown"),
        ("a = 'y' AND m = 'x'", a("x"), "false"),
        ("m = 'x' AND a = 'y'", a("x"), "false"),
        ("a = 'x' AND m = 'x'", a("x"), "unknown"),
        ("m = 'x' OR a = 'x'", a("x"), "true"),
        ("m = 'x' OR a = 'y'", a("x"), "unknown"),
        ("'x' = m", none(), "false"),
        ("'x' <> m", none(), "true"),
        ("a = m", a("x"), "false"),
        ("m = n", none(), "true"),
        ("m <> n", none(), "false"),
        ("m > n", none(), "unknown"),
        // A property as a condition.
        ("a", a("true"), "false"),
        ("NOT a", a("true"), "true"),
        ("a", none(), "unknown"),
        ("NOT a", none(), "unknown"),
        ("a OR TRUE", none(), "true"),
        // NULL.
        ("m IS NULL", none(), "true"),
        ("m IS NOT NULL", none(), "false"),
        ("a IS NULL", a(""), "false"),
        ("a IS NOT NULL", a(""), "true"),
        ("NULL IS NULL AND 5 IS NOT NULL", none(), "true"),
        ("-a IS NULL", a("5"), "true"),
        ("-a = 5", a("-5"), "unknown"),
        ("-(a = 5) IS NULL", a("5"), "true"),
        // Lists.
        ("a IN ('x', 'y')", a("y"), "true"),
        ("a IN ('x', 'y')", a("z"), "false"),
        ("a IN ('5')", a("5.0"), "false"),
        ("a NOT IN ('x', 'y')", a("z"), "true"),
        ("a not in ('x', 'y')", a("x"), "false"),
        ("(a) IN ('d', 'b', 'a', 'c', 'e')", a("c"), "true"),
        ("m IN ('x')", none(), "unknown"),
        ("m NOT IN ('x')", none(), "unknown"),
        // Searches.
        ("a CONTAINS 'bc' AND a STARTSWITH 'ab' AND a ENDSWITH 'cd'", a("abcd"), "true"),
        ("a CONTAINS 'x' OR a STARTSWITH 'b' OR a ENDSWITH 'c'", a("abcd"), "false"),
        ("a NOT CONTAINS 'x' AND a NOT STARTSWITH 'b' AND a NOT ENDSWITH 'c'", a("abcd"), "true"),
        ("a NOT CONTAINS 'bc'", a("abcd"), "false"),
        ("a NOT STARTSWITH 'ab'", a("abcd"), "false"),
        ("a NOT ENDSWITH 'cd'", a("abcd"), "false"),
        ("m CONTAINS 'x' OR m STARTSWITH 'x' OR m ENDSWITH 'x'", none(), "false"),
        ("m NOT CONTAINS 'x' OR m NOT STARTSWITH 'x' OR m NOT ENDSWITH 'x'", none(), "false"),
        ("a CONTAINS '' OR a NOT CONTAINS '' OR a STARTSWITH '' OR a NOT ENDSWITH ''", a("x"), "false"),
        ("5 CONTAINS '5' OR 5 NOT CONTAINS 'x'", none(), "false"),
        ("'abc' CONTAINS 'b' AND 'abc' NOT CONTAINS 'x'", none(), "true"),
        ("a CONTAINS 'x' CONTAINS 'x'", a("x"), "false"),
        ("a CONTAINS '单'", a("订单-7"), "true"),
        // BETWEEN.
        ("a BETWEEN 1 AND 5", a("1"), "true"),
        ("a BETWEEN 1 AND 5", a("5"), "true"),
        ("a BETWEEN 1 AND 5", a("6"), "false"),
        ("a BETWEEN 1 AND 5", a("x"), "fails"),
        ("a NOT BETWEEN 1 AND 5", a("0"), "true"),
        ("a NOT BETWEEN 1 AND 5", a("5"), "false"),
        ("a NOT BETWEEN 5 AND 1", a("3"), "true"),
        ("a BETWEEN 5 AND -1", a("3"), "false"),
        ("a BETWEEN -1.5 AND 1", a("0"), "true"),
        ("a BETWEEN -1.5 AND 1", a("0.5"), "fails"),
        ("a BETWEEN m AND 1", a("2"), "false"),
        ("a BETWEEN m AND 1", a("0"), "unknown"),
        ("a BETWEEN 1 AND m", a("0"), "false"),
        ("a NOT BETWEEN m AND 1", a("2"), "true"),
        ("m BETWEEN 1 AND 5", none(), "unknown"),
        ("m NOT BETWEEN 1 AND 5", none(), "unknown"),
        ("3 BETWEEN 1 AND 5", none(), "true"),
        ("b BETWEEN a AND 5", vec![("a", "1"), ("b", "2")], "true"),
        ("a BETWEEN 1 AND 5 AND b = 'y'", vec![("a", "1"), ("b", "y")], "true"),
        // Booleans.
        ("a = TRUE", a("TrUe"), "true"),
        ("a = TRUE", a("yes"), "false"),
        ("a = FALSE", a("yes"), "true"),
        ("a <> TRUE", a("yes"), "true"),
        ("TRUE = a", a("true"), "fails"),
        ("(b = 'y') = a", vec![("a", "true"), ("b", "y")], "fails"),
        ("a = (b = 'y')", vec![("a", "true"), ("b", "y")], "true"),
        ("TRUE = TRUE AND TRUE <> FALSE", none(), "true"),
        ("'true' = TRUE", none(), "true"),
    ];
    for (expression, properties, expected) in rows {
        assert_eq!(outcome(expression, &property_string(&properties)), expected, "{expression} {properties:?}");
    }
}

#[test]
fn properties_are_found_in_any_bytes() {
    for (stored, expected) in [
        (&b"a\x01x\x02"[..], "true"),
        (b"a\x01x", "true"),
        (b"\x02\x02b\x01y\x02\x02a\x01x\x02", "true"),
        (b"aa\x01y\x02a\x01x\x02", "true"),
        // The first of a name counts; text that is not UTF-8 is no property.
        (b"a\x01y\x02a\x01x\x02", "false"),
        (b"a\x01\xff\x02a\x01x\x02", "true"),
        (b"a\x01\xff\x02", "unknown"),
        (b"a\x01x\x01\x02", "false"),
        (b"a\x02x\x02", "unknown"),
        (b"A\x01x\x02", "unknown"),
        (b"\x01x\x02", "unknown"),
        (b"", "unknown"),
    ] {
        assert_eq!(outcome("a = 'x'", stored), expected, "{stored:?}");
    }
}

#[test]
fn what_does_not_compile_says_where_and_why() {
    for (expression, at, reason) in [
        ("", 0, "nothing but blanks"),
        (" \t\n", 0, "nothing but blanks"),
        ("/* nothing */", 0, "nothing but blanks"),
        // NULL with = and <>.
        ("a = NULL", 4, "IS NULL"),
        ("NULL <> a", 0, "IS NULL"),
        ("a = (NULL)", 4, "IS NULL"),
        // Order is for numbers.
        ("a > 'x'", 4, "a string is neither"),
        ("'x' <= a", 0, "a string is neither"),
        ("a < TRUE", 4, "TRUE or FALSE is neither"),
        ("a >= NULL", 5, "NULL is neither"),
        ("(a = 'x') > 5", 0, "a condition is neither"),
        ("a > 1 > 2", 0, "a condition is neither"),
        ("NOT a > 5", 0, "a condition is neither"),
        ("a BETWEEN 'x' AND 5", 10, "a string is neither"),
        ("a BETWEEN 1 AND NULL", 16, "NULL is neither"),
        ("a NOT BETWEEN 1 AND 'x'", 20, "a string is neither"),
        ("TRUE BETWEEN 1 AND 5", 0, "TRUE or FALSE is neither"),
        // Bounds the wrong way round.
        ("a BETWEEN 5 AND 1", 10, "lower bound"),
        ("a BETWEEN 1.5 AND 1", 10, "lower bound"),
        ("a BETWEEN 5000000000 AND 1", 10, "lower bound"),
        // IN and the searches.
        ("'x' IN ('x')", 4, "no property stands on its left"),
        ("a = 'x' IN ('x')", 8, "no property stands on its left"),
        ("NOT a IN ('x')", 6, "no property stands on its left"),
        ("a IN ('x') IN ('x')", 11, "no property stands on its left"),
        ("a IN (5)", 6, "a string in single quotes, found 5"),
        ("a IN ('x', b)", 11, "a string in single quotes, found b"),
        ("a IN ()", 6, "a string in single quotes, found )"),
        ("a IN 'x'", 5, "'('"),
        ("a IN ('x'", 9, "',' or ')', but the expression ends"),
        ("a CONTAINS b", 11, "a string in single quotes, found b"),
        ("a NOT STARTSWITH 5", 17, "a string in single quotes, found 5"),
        ("a ENDSWITH", 10, "but the expression ends"),
        ("a NOT LIKE 'x'", 6, "behind NOT, found LIKE"),
        ("a NOT", 5, "but the expression ends"),
        // Constants that are compared.
        ("TRUE = 5", 5, "not compared with"),
        ("FALSE <> 'x'", 6, "not compared with"),
        // What is no condition.
        ("5", 0, "a number is no condition"),
        ("'x'", 0, "a string is no condition"),
        ("a = 'x' AND 5", 12, "a number is no condition"),
        ("'x' OR a = 'x'", 0, "a string is no condition"),
        ("NOT 5.5", 4, "a number is no condition"),
        ("-a", 0, "what stands behind a sign is no condition"),
        ("NOT -a", 4, "what stands behind a sign is no condition"),
        ("(5)", 0, "a number is no condition"),
        // What is incomplete.
        ("a =", 3, "but the expression ends"),
        ("a = 'x' AND", 11, "but the expression ends"),
        ("a and between 2 and 10", 6, "found between"),
        ("(a = 'x'", 8, "')', but the expression ends"),
        ("a IS", 4, "NULL or NOT NULL, but"),
        ("a IS NOT 5", 9, "NULL, found 5"),
        ("a BETWEEN 1", 11, "AND, but the expression ends"),
        ("a BETWEEN 1 OR 2", 12, "AND, found OR"),
        ("AND", 0, "found AND"),
        (")", 0, "found )"),
        ("= 5", 0, "found ="),
        ("a = = 5", 4, "found ="),
        ("a > +", 5, "but the expression ends"),
        // What is no token, up to the first behind a complete condition.
        ("a != 5", 2, "unknown character '!': not equal is '<>'"),
        ("a = \"x\"", 4, "strings stand in single quotes"),
        ("a * 5 = 10", 2, "unknown character '*'"),
        ("a.b = 'x'", 1, "unknown character '.'"),
        ("a = 'x' ; b", 8, "unknown character ';'"),
        ("a = 'x", 4, "has no end"),
        ("a = 'x''", 4, "has no end"),
        ("a = 'x'' AND b", 4, "has no end"),
        ("/* a = 5", 0, "the comment that begins here has no end"),
        ("\u{e4} = 5", 0, "unknown character '\u{e4}'"),
        ("a = 5 \u{0}", 6, "unknown character '\\0'"),
        // Numbers.
        ("a = 9223372036854775808", 4, "64 bits"),
        ("a > -9223372036854775808", 5, "64 bits"),
        ("a = 0.0", 4, "write 0"),
        ("a = 1e-400", 4, "write 0"),
        ("a = 1e400", 4, "greatest double"),
    ] {
        match Sql::compile(expression) {
            Err(SqlError { at: found, reason: said }) => {
                assert!(found == at && said.contains(reason), "{expression}: {found} {said}");
            }
            Ok(_) => panic!("{expression} compiles"),
        }
    }
}

#[test]
fn what_is_too_large_is_refused_before_it_costs_anything() {
    let chain = |count: usize, term: &str, word: &str| vec![term; count].join(word);
    assert!(Sql::compile(&chain(TERMS_MAX, "a = 1", " OR ")).is_ok());
    let error = Sql::compile(&chain(TERMS_MAX + 1, "a = 1", " OR ")).unwrap_err();
    assert!(error.at == TERMS_MAX * 9 && error.reason.contains("more than 64"), "{error:?}");
    for chained in ["a IS NULL".to_string() + &" IS NULL".repeat(64), chain(66, "a", " = "), chain(65, "a", " AND ")] {
        assert!(Sql::compile(&chained).unwrap_err().reason.contains("more than 64"), "{chained}");
    }
    for (open, close) in [("(", ")"), ("NOT ", ""), ("(NOT ", ")")] {
        let nested = |deep: usize| format!("{}a = 1{}", open.repeat(deep), close.repeat(deep));
        let fits = DEPTH_MAX / (1 + usize::from(open.len() == 5));
        assert!(Sql::compile(&nested(fits)).is_ok(), "{open}");
        assert!(Sql::compile(&nested(fits + 1)).unwrap_err().reason.contains("deeper than 16"), "{open}");
        assert!(Sql::compile(&nested(800)).is_err(), "{open}");
    }
    let signs = |count: usize| format!("a = {}1", "- ".repeat(count));
    assert!(Sql::compile(&signs(DEPTH_MAX)).is_ok() && Sql::compile(&signs(DEPTH_MAX + 1)).is_err());
    // What is side by side is not nested.
    assert!(Sql::compile(&chain(40, "(a = 1)", " AND ")).is_ok());
    let names = |count: usize| (0..count).map(|n| format!("a{n} = b{n}")).collect::<Vec<_>>().join(" AND ");
    assert!(Sql::compile(&names(NAMES_MAX / 2)).is_ok());
    assert!(Sql::compile(&names(NAMES_MAX / 2 + 1)).unwrap_err().reason.contains("more than 64 properties"));
}

/// A condition of the test's own, and what it means, in other words than the evaluation's.
mod model {
    use super::*;

    #[derive(Debug, Clone)]
    pub enum Tree {
        Truth(Option<bool>),
        Bare(&'static str),
        Not(Box<Tree>),
        Join(Box<Tree>, bool, Box<Tree>),
        Compare(Leaf, &'static str, Leaf),
        IsNull(Leaf, bool),
        Between(Leaf, bool, Leaf, Leaf),
        In(Leaf, bool, Vec<&'static str>),
        Search(Leaf, bool, &'static str, &'static str),
    }

    #[derive(Debug, Clone)]
    pub enum Leaf {
        Name(&'static str),
        Text(&'static str),
        Number(&'static str),
        Tree(Box<Tree>),
        Minus(Box<Leaf>),
    }

    #[derive(Debug, Clone, PartialEq)]
    enum Value {
        Nothing,
        Text(String),
        Whole(i64),
        Float(f64),
        Truth(bool),
    }

    const NAMES: [&str; 4] = ["a", "b", "c", "TAGS"];
    pub const TEXTS: [&str; 12] = ["x", "5", "5.0", "-7", "3000000000", "true", "TRUE", "", "it's", "5.5", " 5", "1e3"];
    const NUMBERS: [&str; 8] = ["5", "5.5", "3000000000", "0", "7L", "1E3", ".5", "2147483647"];
    const SIGNS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];
    const SEARCHES: [&str; 3] = ["CONTAINS", "STARTSWITH", "ENDSWITH"];

    pub fn properties() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
        let name = prop::sample::select(vec!["a", "b", "c", "TAGS", "A", "aa", "d"]);
        prop::collection::vec((name, prop::sample::select(TEXTS.to_vec())), 0..8)
    }

    pub fn tree() -> impl Strategy<Value = Tree> {
        let simple = |tree: Option<BoxedStrategy<Tree>>| {
            let plain = prop_oneof![
                4 => prop::sample::select(NAMES.to_vec()).prop_map(Leaf::Name),
                2 => prop::sample::select(TEXTS.to_vec()).prop_map(Leaf::Text),
                3 => prop::sample::select(NUMBERS.to_vec()).prop_map(Leaf::Number),
            ];
            let leaf = match tree {
                None => plain.boxed(),
                Some(tree) => prop_oneof![6 => plain, 1 => tree.prop_map(|tree| Leaf::Tree(Box::new(tree)))].boxed(),
            };
            prop_oneof![5 => leaf.clone(), 1 => leaf.prop_map(|leaf| Leaf::Minus(Box::new(leaf)))].boxed()
        };
        let terms = move |leaf: BoxedStrategy<Leaf>| {
            let texts = prop::collection::vec(prop::sample::select(TEXTS.to_vec()), 1..7);
            let text = prop::sample::select(TEXTS.to_vec());
            prop_oneof![
                1 => any::<Option<bool>>().prop_map(Tree::Truth),
                1 => prop::sample::select(NAMES.to_vec()).prop_map(Tree::Bare),
                6 => (leaf.clone(), prop::sample::select(SIGNS.to_vec()), leaf.clone())
                    .prop_map(|(left, sign, right)| Tree::Compare(left, sign, right)),
                1 => (leaf.clone(), any::<bool>()).prop_map(|(leaf, not)| Tree::IsNull(leaf, not)),
                2 => (leaf.clone(), any::<bool>(), leaf.clone(), leaf.clone())
                    .prop_map(|(value, not, low, high)| Tree::Between(value, not, low, high)),
                1 => (leaf.clone(), any::<bool>(), texts).prop_map(|(leaf, not, texts)| Tree::In(leaf, not, texts)),
                1 => (leaf, any::<bool>(), prop::sample::select(SEARCHES.to_vec()), text)
                    .prop_map(|(leaf, not, search, text)| Tree::Search(leaf, not, search, text)),
            ]
        };
        terms(simple(None)).prop_recursive(3, 24, 3, move |tree| {
            prop_oneof![
                1 => tree.clone().prop_map(|tree| Tree::Not(Box::new(tree))),
                4 => (tree.clone(), any::<bool>(), tree.clone())
                    .prop_map(|(left, and, right)| Tree::Join(Box::new(left), and, Box::new(right))),
                3 => terms(simple(Some(tree.boxed()))),
            ]
        })
    }

    impl Tree {
        pub fn text(&self) -> String {
            let not = |not: &bool| if *not { "NOT " } else { "" };
            match self {
                Tree::Truth(truth) => truth.map_or("NULL".into(), |truth| truth.to_string()),
                Tree::Bare(name) => name.to_string(),
                Tree::Not(tree) => format!("NOT ({})", tree.text()),
                Tree::Join(left, and, right) => {
                    format!("({}) {} ({})", left.text(), if *and { "AND" } else { "or" }, right.text())
                }
                Tree::Compare(left, sign, right) => format!("{}{sign}{}", left.text(), right.text()),
                Tree::IsNull(leaf, negated) => format!("{} IS {}NULL", leaf.text(), not(negated)),
                Tree::Between(value, negated, low, high) => {
                    format!("{} {}BETWEEN {} AND {}", value.text(), not(negated), low.text(), high.text())
                }
                Tree::In(leaf, negated, texts) => {
                    let texts: Vec<_> = texts.iter().map(|text| quoted(text)).collect();
                    format!("{} {}IN ({})", leaf.text(), not(negated), texts.join(","))
                }
                Tree::Search(leaf, negated, search, text) => {
                    format!("{} {}{search} {}", leaf.text(), not(negated), quoted(text))
                }
            }
        }

        /// Would RocketMQ compile it?
        pub fn is_legal(&self) -> bool {
            match self {
                Tree::Truth(_) | Tree::Bare(_) => true,
                Tree::Not(tree) => tree.is_legal(),
                Tree::Join(left, _, right) => left.is_legal() && right.is_legal(),
                Tree::Compare(left, sign, right) => {
                    let legal = match *sign {
                        "=" | "<>" => {
                            let is_null = |leaf: &Leaf| matches!(leaf.bare(), Some(Tree::Truth(None)));
                            let is_truth = matches!(left.bare(), Some(Tree::Truth(_)));
                            let is_plain = matches!(right, Leaf::Text(_) | Leaf::Number(_));
                            !(is_null(left) || is_null(right) || is_truth && is_plain)
                        }
                        _ => left.has_order() && right.has_order(),
                    };
                    legal && left.is_legal() && right.is_legal()
                }
                Tree::IsNull(leaf, _) | Tree::Search(leaf, ..) => leaf.is_legal(),
                Tree::Between(value, negated, low, high) => {
                    let are_ordered = match (low, high) {
                        (Leaf::Number(low), Leaf::Number(high)) if !negated => float(low) <= float(high),
                        _ => true,
                    };
                    let all = [value, low, high];
                    are_ordered && all.iter().all(|leaf| leaf.has_order() && leaf.is_legal())
                }
                // A property in parentheses is one, too.
                Tree::In(leaf, ..) => matches!(leaf, Leaf::Name(_)) || matches!(leaf.bare(), Some(Tree::Bare(_))),
            }
        }

        pub fn truth(&self, properties: &HashMap<&str, &str>) -> Result<Option<bool>, ()> {
            let not = |truth: Option<bool>, negated: bool| truth.map(|truth| truth ^ negated);
            Ok(match self {
                Tree::Truth(truth) => *truth,
                Tree::Bare(name) => properties.contains_key(name).then_some(false),
                Tree::Not(tree) => not(tree.truth(properties)?, true),
                Tree::Join(left, and, right) => {
                    let left = left.truth(properties)?;
                    if left == Some(!and) {
                        return Ok(left);
                    }
                    match (left, right.truth(properties)?) {
                        (_, Some(right)) if right != *and => Some(right),
                        (Some(_), Some(_)) => Some(*and),
                        _ => None,
                    }
                }
                Tree::Compare(left, sign @ ("=" | "<>"), right) => {
                    let truth = match (left.value(properties)?, right.value(properties)?) {
                        (Value::Nothing, Value::Nothing) => Some(true),
                        (Value::Nothing, _) => None,
                        (_, Value::Nothing) => Some(false),
                        (Value::Text(left), Value::Text(right)) => Some(left == right),
                        (left, right) => Some(order(&left, &right)? == 0),
                    };
                    not(truth, *sign == "<>")
                }
                Tree::Compare(left, sign, right) => in_order(left, sign, right, properties)?,
                Tree::IsNull(leaf, negated) => Some((leaf.value(properties)? == Value::Nothing) ^ negated),
                Tree::Between(value, negated, low, high) => {
                    let side = |sign, bound: &Leaf| Tree::Compare(value.clone(), sign, bound.clone());
                    let (low, high) = match negated {
                        false => (side(">=", low), side("<=", high)),
                        true => (side("<", low), side(">", high)),
                    };
                    Tree::Join(Box::new(low), !negated, Box::new(high)).truth(properties)?
                }
                Tree::In(leaf, negated, texts) => {
                    leaf.property(properties).map(|value| texts.contains(&value) ^ negated)
                }
                Tree::Search(leaf, negated, search, text) => match leaf.value(properties)? {
                    Value::Text(value) if !text.is_empty() => {
                        let at = value.match_indices(text).map(|(at, _)| at).collect::<Vec<_>>();
                        let found = match *search {
                            "CONTAINS" => !at.is_empty(),
                            "STARTSWITH" => at.first() == Some(&0),
                            _ => value.len() >= text.len() && value[value.len() - text.len()..] == **text,
                        };
                        Some(found ^ negated)
                    }
                    _ => Some(false),
                },
            })
        }
    }

    impl Leaf {
        fn text(&self) -> String {
            match self {
                Leaf::Name(name) => name.to_string(),
                Leaf::Text(text) => quoted(text),
                Leaf::Number(number) => number.to_string(),
                Leaf::Tree(tree) => format!("({})", tree.text()),
                Leaf::Minus(leaf) => format!("- {}", leaf.text()),
            }
        }

        fn bare(&self) -> Option<&Tree> {
            match self {
                Leaf::Tree(tree) => Some(tree),
                _ => None,
            }
        }

        fn has_order(&self) -> bool {
            match self {
                Leaf::Name(_) | Leaf::Number(_) | Leaf::Minus(_) => true,
                Leaf::Text(_) => false,
                Leaf::Tree(tree) => matches!(**tree, Tree::Bare(_)),
            }
        }

        fn is_legal(&self) -> bool {
            match self {
                Leaf::Tree(tree) => tree.is_legal(),
                Leaf::Minus(leaf) => leaf.is_legal(),
                _ => true,
            }
        }

        fn property<'a>(&self, properties: &HashMap<&str, &'a str>) -> Option<&'a str> {
            match self {
                Leaf::Name(name) => properties.get(name).copied(),
                Leaf::Tree(tree) => match **tree {
                    Tree::Bare(name) => properties.get(name).copied(),
                    _ => None,
                },
                _ => None,
            }
        }

        fn value(&self, properties: &HashMap<&str, &str>) -> Result<Value, ()> {
            Ok(match self {
                Leaf::Name(_) => self.property(properties).map_or(Value::Nothing, |text| Value::Text(text.into())),
                Leaf::Tree(tree) if matches!(**tree, Tree::Bare(_)) => {
                    self.property(properties).map_or(Value::Nothing, |text| Value::Text(text.into()))
                }
                Leaf::Text(text) => Value::Text(text.to_string()),
                Leaf::Number(number) => match number.trim_end_matches('L').parse() {
                    Ok(whole) => Value::Whole(whole),
                    Err(_) => Value::Float(float(number)),
                },
                Leaf::Tree(tree) => tree.truth(properties)?.map_or(Value::Nothing, Value::Truth),
                Leaf::Minus(leaf) => match leaf.value(properties)? {
                    Value::Whole(number) => Value::Whole(-number),
                    Value::Float(number) => Value::Float(-number),
                    _ => Value::Nothing,
                },
            })
        }
    }

    fn in_order(left: &Leaf, sign: &str, right: &Leaf, properties: &HashMap<&str, &str>) -> Result<Option<bool>, ()> {
        let left = left.value(properties)?;
        if left == Value::Nothing {
            return Ok(None);
        }
        let right = right.value(properties)?;
        let order = match (&left, &right) {
            (_, Value::Nothing) => return Ok(None),
            (Value::Text(left), Value::Text(right)) => {
                order(&Value::Float(read_float(left)?), &Value::Float(read_float(right)?))?
            }
            _ => order(&left, &right)?,
        };
        Ok(Some(match sign {
            "<" => order < 0,
            "<=" => order <= 0,
            ">" => order > 0,
            _ => order >= 0,
        }))
    }

    fn order(left: &Value, right: &Value) -> Result<i8, ()> {
        Ok(match (left, right) {
            (Value::Truth(_), Value::Text(_)) => return Err(()),
            (Value::Text(text), Value::Truth(right)) => (text.to_lowercase() == "true").cmp(right) as i8,
            (Value::Truth(left), Value::Truth(right)) => left.cmp(right) as i8,
            (Value::Truth(_), _) | (_, Value::Truth(_)) => -1,
            (Value::Text(text), number) => order(&read_as(text, number)?, number)?,
            (number, Value::Text(text)) => order(number, &read_as(text, number)?)?,
            (Value::Whole(left), Value::Whole(right)) => left.cmp(right) as i8,
            (left, right) => {
                let float = |value: &Value| match value {
                    Value::Whole(number) => *number as f64,
                    Value::Float(number) => *number,
                    _ => unreachable!("numbers are left"),
                };
                float(left).partial_cmp(&float(right)).expect("no NaN among the test's values") as i8
            }
        })
    }

    /// 32 bits are asked for where the literal has no more.
    fn read_as(text: &str, number: &Value) -> Result<Value, ()> {
        match number {
            Value::Whole(number) if i32::try_from(*number).is_ok() => {
                text.parse::<i32>().map(|number| Value::Whole(number.into())).map_err(|_| ())
            }
            Value::Whole(_) => text.parse().map(Value::Whole).map_err(|_| ()),
            _ => read_float(text).map(Value::Float),
        }
    }

    fn read_float(text: &str) -> Result<f64, ()> {
        text.trim().parse().map_err(|_| ())
    }

    fn float(number: &str) -> f64 {
        number.trim_end_matches('L').parse().expect("one of the test's numbers")
    }

    fn quoted(text: &str) -> String {
        format!("'{}'", text.replace('\'', "''"))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_096))]

    #[test]
    fn evaluation_agrees_with_one_written_in_another_way(
        tree in model::tree(),
        several in prop::collection::vec(model::properties(), 1..4),
    ) {
        let text = tree.text();
        let compiled = Sql::compile(&text);
        prop_assert_eq!(compiled.is_ok(), tree.is_legal(), "{} {:?}", text, compiled.err());
        if let Ok(sql) = compiled {
            for properties in several {
                let mut known = HashMap::new();
                for (name, value) in &properties {
                    known.entry(*name).or_insert(*value);
                }
                let found = sql.evaluate(&property_string(&properties));
                prop_assert_eq!(word(found), word(tree.truth(&known)), "{} {:?}", text, properties);
            }
        }
    }

    #[test]
    fn any_text_compiles_or_names_a_place_inside(text in "[aA0-9.'()<>=+, \u{e4}/*-]{0,40}|\\PC{0,40}", stored: Vec<u8>) {
        match Sql::compile(&text) {
            Ok(sql) => {
                sql.matches(&stored);
            }
            Err(error) => prop_assert!(text.is_char_boundary(error.at), "{} {:?}", text, error),
        }
    }
}
