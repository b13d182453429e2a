//! Lists in pages. A cursor is a position under a seal, bound to what is listed; the gateway keeps nothing of it.

use std::fmt::Display;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;

use super::RestState;
use super::request::{Query, invalid_query};
use crate::error::GatewayError;

const CURSOR_PREFIX: &str = "c1.";
const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 500;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

/// How long a page shall be, and where it begins.
pub(super) struct PageWish {
    pub(super) limit: u32,
    cursor: Option<String>,
}

impl PageWish {
    pub(super) fn take(query: &mut Query) -> Result<PageWish, GatewayError> {
        PageWish::take_at_most(query, LIMIT_MAX)
    }

    pub(super) fn take_at_most(query: &mut Query, limit_max: u32) -> Result<PageWish, GatewayError> {
        let limit = query.take_number("limit")?.unwrap_or(LIMIT_DEFAULT);
        if !(1..=limit_max).contains(&limit) {
            return Err(invalid_query("limit", &format!("must be 1 to {limit_max}")));
        }
        Ok(PageWish { limit, cursor: query.take("cursor")? })
    }

    /// The position that `Listing::cursor` was given; `None` is the first page.
    pub(super) fn position<P>(
        &self,
        state: &RestState,
        listing: &Listing,
        parse: impl FnOnce(&str) -> Option<P>,
    ) -> Result<Option<P>, GatewayError> {
        let Some(cursor) = &self.cursor else { return Ok(None) };
        let sealed = state.messaging.unseal(CURSOR_PREFIX, cursor);
        let text = sealed.and_then(|sealed| String::from_utf8(sealed).ok());
        let position = text.and_then(|text| parse(text.strip_prefix(&listing.0)?));
        position.map(Some).ok_or(GatewayError::InvalidCursor)
    }
}

/// What is listed, with all that narrows it: a cursor of one listing is none of another.
pub(super) struct Listing(String);

impl Listing {
    /// Hashed, for a filter may be longer than a cursor should be.
    pub(super) fn new(kind: &str, narrowed_by: impl Display) -> Listing {
        Listing(format!("{kind} {}\n", STANDARD_NO_PAD.encode(Sha256::digest(narrowed_by.to_string()))))
    }

    pub(super) fn cursor(&self, state: &RestState, position: impl Display) -> String {
        state.messaging.seal(CURSOR_PREFIX, format!("{}{position}", self.0).as_bytes())
    }
}

/// A page of a list by name.
pub(super) struct Page {
    listing: Listing,
    prefix: String,
    pub(super) include_system: bool,
    limit: usize,
    /// The last name given out.
    after: Option<String>,
}

impl Page {
    /// `kind`: what is listed, with the filters that are not the page's own.
    pub(super) fn take(state: &RestState, kind: &str, query: &mut Query) -> Result<Page, GatewayError> {
        let prefix = query.take("prefix")?.unwrap_or_default();
        let include_system = query.take_flag("includeSystem")?;
        let wish = PageWish::take(query)?;
        let listing = Listing::new(kind, format!("{prefix}\n{include_system}"));
        let after = wish.position(state, &listing, |name| Some(name.to_string()))?;
        Ok(Page { listing, prefix, include_system, limit: wish.limit as usize, after })
    }

    /// `items` are in the order of their names.
    pub(super) fn cut<T>(
        &self,
        state: &RestState,
        items: impl Iterator<Item = T>,
        name: impl Fn(&T) -> &str,
    ) -> Items<T> {
        let wanted = |item: &T| {
            let name = name(item);
            name.starts_with(&self.prefix) && self.after.as_deref().is_none_or(|after| name > after)
        };
        let mut items: Vec<T> = items.filter(wanted).take(self.limit + 1).collect();
        let more = items.len() > self.limit;
        items.truncate(self.limit);
        let next_cursor = items.last().filter(|_| more).map(|last| self.listing.cursor(state, name(last)));
        Items { items, next_cursor }
    }
}
