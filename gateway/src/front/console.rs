//! The console's files over HTTP: one page for every route of the app, and assets that never change.
//!
//! What the app does is in `web-console/`; what it asks for is `rest/`. A build without the console serves a page that
//! says so, under the same policy.

use std::collections::HashMap;
use std::io::Read as _;
use std::sync::LazyLock;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use gantry_broker_core::random::{Random, SystemRandom};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use sha2::{Digest as _, Sha256};

#[cfg(test)]
mod tests;

/// A file of the console's build: its path there, its bytes. A name in `.br` or `.gz` is the one without, packed.
type File = (&'static str, &'static [u8]);

static BUILT: &[File] = include!(concat!(env!("OUT_DIR"), "/console_files.rs"));
static CONSOLE: LazyLock<Console> = LazyLock::new(|| Console::new(BUILT));

/// Stands in for the console where it was not built.
const NOT_BUILT: &str = include_str!("console/not_built.html");
/// For those who came with a terminal.
const WORDS: &str = "Gantry is running. The console is at this address in a browser, the HTTP API under /v1:\n\
                     curl -X PUT http://localhost:8080/v1/topics/orders --json '{}'\n\
                     curl http://localhost:8080/v1/topics/orders/messages -d hello\n";

/// First parts of a path that are no page of the app, whatever stands behind them. A wrong path below them is an error
/// and must not look like success to a program.
const NOT_PAGES: [&str; 9] =
    ["v1", "assets", "docs", "openapi.json", "openapi.yaml", "metrics", "healthz", "readyz", "version"];

const NONCE_MARK: &str = "__CSP_NONCE__";
const BASE_PATH_MARK: &str = "__BASE_PATH__";
/// The app lives at the root of its listener.
const BASE_PATH: &str = "/";
/// 144 bits: no padding in base64.
const NONCE_BYTES: usize = 18;

/// The console of this build.
pub fn embedded() -> &'static Console {
    &CONSOLE
}

pub struct Console {
    page: &'static str,
    assets: HashMap<&'static str, Asset>,
}

/// At least one form is there; what is missing but wanted is unpacked from gzip.
#[derive(Default)]
struct Asset {
    brotli: Option<Packed>,
    gzip: Option<Packed>,
    plain: Option<Packed>,
}

struct Packed {
    bytes: &'static [u8],
    tag: HeaderValue,
}

impl Console {
    fn new(files: &'static [File]) -> Console {
        let mut console = Console { page: NOT_BUILT, assets: HashMap::new() };
        for (name, bytes) in files {
            if *name == "index.html" {
                console.page = std::str::from_utf8(bytes).expect("the console's page is UTF-8");
                continue;
            }
            let packed = Some(Packed { bytes, tag: strong_tag(bytes) });
            if let Some(name) = name.strip_suffix(".br") {
                console.assets.entry(name).or_default().brotli = packed;
            } else if let Some(name) = name.strip_suffix(".gz") {
                console.assets.entry(name).or_default().gzip = packed;
            } else {
                console.assets.entry(name).or_default().plain = packed;
            }
        }
        console
    }

    /// `None`: nothing of the console's is there.
    pub fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
        if method != Method::GET && method != Method::HEAD {
            return None;
        }
        let path = path.strip_prefix('/')?;
        let mut response = if let Some(asset) = self.assets.get(path) {
            asset.answer(path, headers)
        } else if NOT_PAGES.contains(&path.split('/').next().unwrap_or_default()) {
            return None;
        } else if wants_a_page(headers) {
            self.page()
        } else if path.is_empty() {
            with_type(WORDS.into(), "text/plain; charset=utf-8")
        } else {
            return None;
        };
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        if method == Method::HEAD {
            // Its length was stated before.
            *response.body_mut() = Body::empty();
        }
        Some(response)
    }

    fn page(&self) -> Response {
        let mut random = [0; NONCE_BYTES];
        SystemRandom.fill(&mut random);
        let nonce = STANDARD.encode(random);
        let text = self.page.replace(NONCE_MARK, &nonce).replace(BASE_PATH_MARK, BASE_PATH);
        let mut response = with_type(text.into(), "text/html; charset=utf-8");
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        // The same address answers programs otherwise.
        headers.insert(header::VARY, HeaderValue::from_static("accept"));
        let policy = content_policy(&nonce);
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::try_from(policy).expect("base64 and ASCII"));
        response
    }
}

impl Asset {
    fn answer(&self, name: &str, request: &HeaderMap) -> Response {
        let takes = |coding| accepts(request, coding);
        let (coding, form, unpack) = match self {
            Asset { brotli: Some(form), .. } if takes("br") => (Some("br"), form, false),
            Asset { gzip: Some(form), .. } if takes("gzip") => (Some("gzip"), form, false),
            Asset { plain: Some(form), .. } => (None, form, false),
            Asset { gzip: Some(form), .. } => (None, form, true),
            // Packed by nothing that can be undone here: better as it is than not at all.
            Asset { brotli: Some(form), .. } => (Some("br"), form, false),
            Asset { brotli: None, gzip: None, plain: None } => unreachable!("an asset is made from one of its forms"),
        };
        let tag = if unpack { unpacked_tag(&form.tag) } else { form.tag.clone() };
        let mut response = if is_known(request, &tag) {
            let mut response = Response::new(Body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            let bytes = if unpack { gunzip(form.bytes) } else { Bytes::from_static(form.bytes) };
            let mut response = with_type(bytes, media_type(name));
            if let Some(coding) = coding {
                response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding));
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, tag);
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        // What lies under assets/ has a hash of its content in its name; the rest is asked for again.
        let caching =
            if name.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "public, no-cache" };
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(caching));
        response
    }
}

fn with_type(body: Bytes, media_type: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = Body::from(body);
    response
}

/// Scripts from here alone, styles from here or with this answer's nonce, no plugins, no frames, no strangers.
fn content_policy(nonce: &str) -> String {
    format!(
        "default-src 'self'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; \
         font-src 'self'; connect-src 'self'; frame-ancestors 'none'; object-src 'none'; base-uri 'self'; \
         form-action 'self'"
    )
}

/// A browser that opens an address says so; `*/*` is anybody.
fn wants_a_page(headers: &HeaderMap) -> bool {
    listed(headers, header::ACCEPT).any(|(kind, wanted)| wanted && kind.eq_ignore_ascii_case("text/html"))
}

/// Does whoever asks take this coding?
pub(super) fn accepts(headers: &HeaderMap, coding: &str) -> bool {
    let named = listed(headers, header::ACCEPT_ENCODING).find(|(name, _)| name.eq_ignore_ascii_case(coding));
    let any = || listed(headers, header::ACCEPT_ENCODING).find(|(name, _)| *name == "*");
    named.or_else(any).is_some_and(|(_, wanted)| wanted)
}

/// The entries of a list with qualities, and whether each is wanted: `q=0` means not.
fn listed(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = (&str, bool)> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|entry| {
        let mut parts = entry.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or(part.strip_prefix("Q=")));
        (name, quality.is_none_or(|text| text.parse::<f32>().is_ok_and(|quality| quality > 0.0)))
    })
}

/// If-None-Match compares weakly, so a proxy's `W/` is no difference.
fn is_known(headers: &HeaderMap, tag: &HeaderValue) -> bool {
    let tag = tag.to_str().expect("our own tags are ASCII");
    let known = headers.get_all(header::IF_NONE_MATCH).into_iter().filter_map(|value| value.to_str().ok());
    known
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.trim_start_matches("W/") == tag)
}

/// Of the bytes as they are sent, so that each packing has its own.
fn strong_tag(bytes: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(bytes);
    HeaderValue::try_from(format!("\"{}\"", URL_SAFE_NO_PAD.encode(&digest[..16]))).expect("base64 and quotes")
}

fn unpacked_tag(packed: &HeaderValue) -> HeaderValue {
    let tag = packed.to_str().expect("our own tags are ASCII").trim_matches('"');
    HeaderValue::try_from(format!("\"{tag}.plain\"")).expect("base64 and quotes")
}

pub(super) fn gunzip(packed: &[u8]) -> Bytes {
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(packed).read_to_end(&mut plain).expect("the build packed it");
    plain.into()
}

/// Chosen by ending: with nosniff a wrong type is a file that does not load.
fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "txt" => "text/plain; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "webp" => "image/webp",
        "woff2" => "font/woff2",
        "wasm" => "application/wasm",
        _ => "application/octet-stream",
    }
}
