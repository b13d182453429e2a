//! Lists in pages: sorted by name, with a sealed cursor that names the last one given out.

use serde::Serialize;
use utoipa::ToSchema;

use super::RestState;
use super::request::{Query, invalid_query};
use crate::error::GatewayError;

const CURSOR_PREFIX: &str = "c1.";
const LIMIT_DEFAULT: usize = 50;
const LIMIT_MAX: usize = 500;

/// One page's wishes.
pub(super) struct Page {
    /// What is listed, with the filters that are not the page's own: a cursor of one listing is none of another.
    kind: String,
    prefix: String,
    pub(super) include_system: bool,
    limit: usize,
    after: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Items<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

impl Page {
    pub(super) fn take(state: &RestState, kind: String, query: &mut Query) -> Result<Page, GatewayError> {
        let prefix = query.take("prefix")?.unwrap_or_default();
        let include_system = query.take_flag("includeSystem")?;
        let limit = query.take_number("limit")?.unwrap_or(LIMIT_DEFAULT);
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(invalid_query("limit", "must be 1 to 500"));
        }
        let mut page = Page { kind, prefix, include_system, limit, after: None };
        if let Some(cursor) = query.take("cursor")? {
            let sealed = state.messaging.unseal(CURSOR_PREFIX, &cursor).ok_or(GatewayError::InvalidCursor)?;
            let text = String::from_utf8(sealed).map_err(|_| GatewayError::InvalidCursor)?;
            let after = text.strip_prefix(&page.binding()).ok_or(GatewayError::InvalidCursor)?;
            page.after = Some(after.to_string());
        }
        Ok(page)
    }

    /// What a cursor is bound to.
    fn binding(&self) -> String {
        format!("{}\n{}\n{}\n", self.kind, self.prefix, self.include_system)
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
        let next_cursor = items.last().filter(|_| more).map(|last| {
            let payload = format!("{}{}", self.binding(), name(last));
            state.messaging.seal(CURSOR_PREFIX, payload.as_bytes())
        });
        Items { items, next_cursor }
    }
}
