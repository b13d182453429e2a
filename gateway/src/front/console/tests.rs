//! Both states of a build, through the same door as a request.

use std::io::Write as _;

use http_body_util::BodyExt as _;

use super::*;

const SCRIPT: &str = "assets/app-Dx8aQ1z0.js";
const SOURCE: &[u8] = b"console.log('a few words of a script, a few words of a script')";
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn console() -> Console {
    let gzip: &'static [u8] = Vec::leak(packed(SOURCE));
    let page: &'static [u8] =
        br#"<base href="__BASE_PATH__"><meta content="__CSP_NONCE__"><style nonce="__CSP_NONCE__">"#;
    Console::new(Vec::leak(vec![
        ("index.html", page),
        ("favicon.svg", b"<svg/>"),
        ("assets/font-Ab12.woff2", b"wOF2"),
        ("assets/app-Dx8aQ1z0.js.gz", gzip),
        ("assets/app-Dx8aQ1z0.js.br", b"as brotli packs it"),
    ]))
}

fn not_built() -> Console {
    Console::new(&[])
}

fn packed(plain: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(plain).unwrap();
    gzip.finish().unwrap()
}

struct Answered {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Answered {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// `line` is method and path.
async fn ask(console: &Console, line: &str, headers: &[(&'static str, &str)]) -> Option<Answered> {
    let (method, path) = line.split_once(' ').unwrap();
    let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap()));
    let response = console.answer(&method.parse().unwrap(), path, &headers.collect())?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Some(Answered { status: parts.status.as_u16(), headers: parts.headers, body })
}

/// The one nonce of a policy.
fn nonce(answer: &Answered) -> &str {
    let policy = answer.header("content-security-policy");
    policy.split_once("'nonce-").and_then(|(_, rest)| rest.split_once('\'')).expect("a nonce").0
}

#[tokio::test]
async fn every_route_of_the_app_is_the_page() {
    let console = console();
    for path in ["/", "/topics", "/topics/a%2Fb/send", "/topics/t/messages/01AB", "/groups/%25DLQ%25", "/no/such/page"]
    {
        let answer = ask(&console, &format!("GET {path}"), &[BROWSER]).await.expect(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "no-cache");
        let nonce = nonce(&answer);
        let expected = format!(r#"<base href="/"><meta content="{nonce}"><style nonce="{nonce}">"#);
        assert_eq!(answer.text(), expected, "{path}");
    }
}

#[tokio::test]
async fn programs_get_no_page_for_a_wrong_path() {
    for console in [console(), not_built()] {
        for path in [
            "/v1",
            "/v1/",
            "/v1/topcis",
            "/assets/gone.js",
            "/assets",
            "/docs/x",
            "/metrics/x",
            "/healthz/x",
            "/openapi.json/x",
            "/readyz/",
            "/version/",
        ] {
            assert!(ask(&console, &format!("GET {path}"), &[BROWSER]).await.is_none(), "{path}");
        }
        for headers in
            [&[][..], &[("accept", "*/*")], &[("accept", "application/json")], &[("accept", "text/html;q=0")]]
        {
            assert!(ask(&console, "GET /topics", headers).await.is_none(), "{headers:?}");
        }
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            assert!(ask(&console, &format!("{method} /topics"), &[BROWSER]).await.is_none(), "{method}");
        }
        // A name of the app's that only begins like one of these.
        assert!(ask(&console, "GET /v1x", &[BROWSER]).await.is_some());
    }
}

#[tokio::test]
async fn a_terminal_at_the_root_gets_words() {
    let answer = ask(&console(), "GET /", &[("accept", "*/*")]).await.unwrap();
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert!(answer.text().contains("/v1/topics/orders"));
}

#[tokio::test]
async fn each_page_has_a_nonce_of_its_own_and_the_whole_policy() {
    for console in [console(), not_built()] {
        let first = ask(&console, "GET /", &[BROWSER]).await.unwrap();
        let second = ask(&console, "GET /", &[BROWSER]).await.unwrap();
        assert_ne!(nonce(&first), nonce(&second));
        assert_eq!(STANDARD.decode(nonce(&first)).unwrap().len(), NONCE_BYTES);
        let policy = first.header("content-security-policy").replace(nonce(&first), "X");
        let expected = "default-src 'self'; script-src 'self'; style-src 'self' 'nonce-X'; img-src 'self' data:; \
                        font-src 'self'; connect-src 'self'; frame-ancestors 'none'; object-src 'none'; \
                        base-uri 'self'; form-action 'self'";
        assert_eq!(policy, expected);
        assert_eq!(first.header("x-content-type-options"), "nosniff");
        assert_eq!(first.header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn a_build_without_the_console_says_so_and_what_to_do() {
    let answer = ask(&not_built(), "GET /topics", &[BROWSER]).await.unwrap();
    let text = answer.text();
    for words in ["not part of this build", "make console", "curl -X PUT"] {
        assert!(text.contains(words), "{words}");
    }
    let nonce = nonce(&answer);
    assert!(text.contains(&format!("<style nonce=\"{nonce}\">")), "its own policy lets its style in");
    assert!(!text.contains("<script") && !text.contains(" style=") && !text.contains(NONCE_MARK));
    assert!(!text.contains("://") || text.matches("://").count() == text.matches("http://localhost").count());
}

#[tokio::test]
async fn assets_travel_in_the_form_that_was_asked_for() {
    let console = console();
    let gzip = packed(SOURCE);
    for (accepted, coding, bytes) in [
        ("gzip, deflate, br, zstd", "br", &b"as brotli packs it"[..]),
        ("gzip;q=1.0, br;q=0", "gzip", &gzip),
        ("GZIP", "gzip", &gzip),
        ("*", "br", b"as brotli packs it"),
        ("br;q=0, *", "gzip", &gzip),
        ("*;q=0", "", SOURCE),
        ("deflate", "", SOURCE),
        ("", "", SOURCE),
    ] {
        let answer = ask(&console, &format!("GET /{SCRIPT}"), &[("accept-encoding", accepted)]).await.unwrap();
        assert_eq!((answer.status, answer.header("content-encoding")), (200, coding), "{accepted:?}");
        assert_eq!(answer.body, bytes, "{accepted:?}");
        assert_eq!(answer.header("content-length"), bytes.len().to_string());
        assert_eq!(answer.header("vary"), "accept-encoding");
        assert_eq!(answer.header("content-type"), "text/javascript; charset=utf-8");
        assert_eq!(answer.header("cache-control"), "public, max-age=31536000, immutable");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
    }
    assert!(ask(&console, &format!("GET /{SCRIPT}.gz"), &[]).await.is_none(), "packed forms have no address");
}

#[tokio::test]
async fn assets_that_were_not_packed_and_files_without_a_hash() {
    let font = ask(&console(), "GET /assets/font-Ab12.woff2", &[("accept-encoding", "br")]).await.unwrap();
    assert_eq!((font.header("content-type"), font.header("content-encoding")), ("font/woff2", ""));
    let icon = ask(&console(), "GET /favicon.svg", &[]).await.unwrap();
    assert_eq!((icon.header("content-type"), icon.header("cache-control")), ("image/svg+xml", "public, no-cache"));
}

#[tokio::test]
async fn what_the_browser_has_is_not_sent_again() {
    let console = console();
    let line = format!("GET /{SCRIPT}");
    let mut tags = Vec::new();
    for accepted in ["br", "gzip", "identity"] {
        let coding = ("accept-encoding", accepted);
        let first = ask(&console, &line, &[coding]).await.unwrap();
        let tag = first.header("etag").to_string();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "strong: {tag}");
        for known in [tag.clone(), format!("\"other\", {tag}"), format!("W/{tag}"), "*".to_string()] {
            let again = ask(&console, &line, &[coding, ("if-none-match", &known)]).await.unwrap();
            assert_eq!((again.status, again.body.len()), (304, 0), "{known}");
            assert_eq!((again.header("etag"), again.header("vary")), (&*tag, "accept-encoding"));
        }
        let changed = ask(&console, &line, &[coding, ("if-none-match", "\"other\"")]).await.unwrap();
        assert_eq!(changed.status, 200);
        assert!(!tags.contains(&tag), "each form has its own");
        tags.push(tag);
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_nothing_behind_them() {
    let console = console();
    for (path, headers) in
        [("/topics", BROWSER), ("/assets/app-Dx8aQ1z0.js", ("accept-encoding", "deflate")), ("/", ("accept", "*/*"))]
    {
        let get = ask(&console, &format!("GET {path}"), &[headers]).await.unwrap();
        let head = ask(&console, &format!("HEAD {path}"), &[headers]).await.unwrap();
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"));
    }
}

#[test]
fn this_build_holds_whole_files_or_none() {
    let has_page = BUILT.iter().any(|(name, _)| *name == "index.html");
    assert_eq!(has_page, !BUILT.is_empty(), "a console is its page and what the page loads");
    for (name, bytes) in BUILT {
        assert!(!bytes.is_empty(), "{name}");
        if name.ends_with(".gz") {
            assert!(!gunzip(bytes).is_empty(), "{name}");
        }
    }
    if has_page {
        let page = embedded().page;
        assert!(page.contains(NONCE_MARK) && page.contains(BASE_PATH_MARK));
    }
}
