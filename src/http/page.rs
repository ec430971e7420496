//! Keyset pages: `?limit=&cursor=`, newest first, ordered by (created_at, id).
//!
//! The cursor is opaque to clients and carries what list it belongs to: used on another list or filter it is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::problem::{FieldError, Kind, Problem};
use crate::clock::Time;

pub const DEFAULT_LIMIT: i64 = 50;
pub const MAX_LIMIT: i64 = 200;

/// The query parameters of every list.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// How many at most (1 to 200; 50 unless told).
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<i64>,
    /// Where the previous page ended: its `next_cursor`.
    #[param(max_length = 500)]
    pub cursor: Option<String>,
}

/// Where a page starts. `before` is exclusive; none means from the newest.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub limit: i64,
    pub before: Option<(Time, Uuid)>,
}

impl Window {
    /// The exclusive upper bound as two SQL parameters, open when the page is the first.
    pub fn bound(&self) -> (Time, Uuid) {
        self.before.unwrap_or((Time::new(jiff::Timestamp::MAX), Uuid::max()))
    }

    /// One row more than the page holds tells whether another page follows.
    pub fn fetch(&self) -> i64 {
        self.limit + 1
    }
}

#[derive(Serialize, Deserialize)]
struct Cursor {
    at: i64,
    id: Uuid,
    list: String,
}

/// A page of a list.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Page<T> {
    pub items: Vec<T>,
    /// Give it as `cursor` for the next page; null at the end.
    pub next_cursor: Option<String>,
}

impl PageQuery {
    /// `list` names the list with its filters, say `invoices:status=open`.
    pub fn window(&self, list: &str) -> Result<Window, Problem> {
        let limit = self.limit.unwrap_or(DEFAULT_LIMIT);
        if !(1..=MAX_LIMIT).contains(&limit) {
            let detail = format!("must be between 1 and {MAX_LIMIT}");
            return Err(Problem::validation(vec![FieldError::new("?limit", detail)]));
        }
        let before = self.cursor.as_deref().map(|cursor| decode(cursor, list)).transpose()?;
        Ok(Window { limit, before })
    }
}

fn decode(cursor: &str, list: &str) -> Result<(Time, Uuid), Problem> {
    URL_SAFE_NO_PAD
        .decode(cursor)
        .ok()
        .and_then(|json| serde_json::from_slice::<Cursor>(&json).ok())
        .filter(|cursor| cursor.list == list)
        .and_then(|cursor| Some((Time::new(jiff::Timestamp::from_microsecond(cursor.at).ok()?), cursor.id)))
        .ok_or_else(|| Problem::new(Kind::InvalidCursor))
}

impl<T> Page<T> {
    /// From the rows fetched with [`Window::fetch`]; `key` gives a row's (created_at, id).
    pub fn new(mut rows: Vec<T>, window: &Window, list: &str, key: impl Fn(&T) -> (Time, Uuid)) -> Self {
        let more = rows.len() > usize::try_from(window.limit).unwrap_or(usize::MAX);
        rows.truncate(usize::try_from(window.limit).unwrap_or(usize::MAX));
        let next_cursor = rows.last().filter(|_| more).map(|row| {
            let (at, id) = key(row);
            let cursor = Cursor {
                at: at.as_microsecond(),
                id,
                list: list.to_owned(),
            };
            URL_SAFE_NO_PAD.encode(serde_json::to_vec(&cursor).unwrap_or_default())
        });
        Self {
            items: rows,
            next_cursor,
        }
    }

    pub fn map<U>(self, f: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(f).collect(),
            next_cursor: self.next_cursor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_walks_its_own_list_and_no_other() {
        let at = |s: &str| Time::new(s.parse().unwrap());
        let rows: Vec<_> = (0..3)
            .map(|i| (at(&format!("2026-01-0{}T00:00:00Z", 3 - i)), Uuid::from_u128(i)))
            .collect();
        let window = PageQuery {
            limit: Some(2),
            cursor: None,
        }
        .window("things")
        .unwrap();
        let page = Page::new(rows.clone(), &window, "things", |row| *row);
        assert_eq!(page.items, rows[..2]);
        let next = PageQuery {
            limit: None,
            cursor: page.next_cursor.clone(),
        };
        assert_eq!(next.window("things").unwrap().before, Some(rows[1]));
        assert_eq!(next.window("others").unwrap_err().kind, Kind::InvalidCursor);
        let last = Page::new(rows[2..].to_vec(), &window, "things", |row| *row);
        assert_eq!(last.next_cursor, None);
        for limit in [0, 201, -5] {
            assert!(
                PageQuery {
                    limit: Some(limit),
                    cursor: None
                }
                .window("things")
                .is_err()
            );
        }
    }
}
